"""Static assets: which files a project has, and uploading those that the server lacks."""
