"""LTX-Video, which makes clips."""
