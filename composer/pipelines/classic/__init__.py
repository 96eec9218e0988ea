"""The door for checkpoints that no family knows: their own diffusers pipeline, called as it is.

The pipeline owns its loop, so callbacks see only what it hands out: the latents after a step, and the images. What
can't be passed on is
refused before weights load.
"""
