"""What the operator decides for single accounts."""
