"""Checkpoints that no family knows: their own diffusers pipeline, with composer's callbacks in its loops.

The pipeline keeps its loop, its text encoding and its postprocessing. Its progress bar, its models and its scheduler
show when callbacks are due. Settings that a pipeline does not take are refused before weights load where the class
shows it.
"""
