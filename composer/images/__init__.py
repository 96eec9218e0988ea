"""Images, masks and depth maps: reading, writing, and the text in their files."""
