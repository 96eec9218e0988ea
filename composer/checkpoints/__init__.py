"""What a checkpoint says of itself, read from its files without torch."""
