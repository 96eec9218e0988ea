"""`compose rerun` and `compose info`: a picture's own record, read and drawn again."""
