"""Checkpoints: location, contents, family and fingerprint, read from their files without torch."""
