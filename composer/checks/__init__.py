"""What a run needs, checked before weights load."""
