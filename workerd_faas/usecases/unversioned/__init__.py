"""What is said of a function beside its versions."""
