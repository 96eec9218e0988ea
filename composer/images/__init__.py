"""Images, masks and depth maps: reading, writing, and the texts in their files."""
