"""Model families: one model layout a file."""
