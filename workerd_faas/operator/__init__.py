"""`workerd-faas`, the operator's command on the machine itself."""
