"""Records of other tools, read as data: what they say is mapped to overrides, and nothing in them is executed."""
