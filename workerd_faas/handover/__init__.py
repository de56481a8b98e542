"""
A daemon hands over to its next one without a failed request: docs/restarts.md has the whole story.
"""
