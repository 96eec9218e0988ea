"""`compose rerun` and `compose info`: an image's own record, read and generated again."""
