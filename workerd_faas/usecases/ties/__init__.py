"""Functions that call one another or receive one another's tail events."""
