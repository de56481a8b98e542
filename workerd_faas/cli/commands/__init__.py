"""The commands: each turns options into calls and answers into text or JSON."""
