"""The embedded checkpoint: what it was trained on, how, and where its weights are stored.

Importing this package costs nothing: the renderer needs numpy, the trainer torch, and both are imported by name.
"""
