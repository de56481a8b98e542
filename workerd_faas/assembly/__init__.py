"""The one place that knows every class: it makes the objects and gives them to one another."""
