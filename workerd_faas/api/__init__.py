"""The management API: Klein routes that translate HTTP to use cases and back."""
