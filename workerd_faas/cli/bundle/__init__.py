"""From a project's sources to the modules of an upload."""
