"""Checkpoints that no family knows: their own diffusers pipeline, called as it is.

The pipeline owns its loop, so callbacks see only what it passes on: the latents after a step, and the images. Settings
that can't be passed on are refused before weights load.
"""
