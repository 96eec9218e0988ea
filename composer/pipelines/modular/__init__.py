"""Checkpoints that exist only as blocks of Modular Diffusers, with composer's callbacks in their denoising loops.

A run has blocks, a scheduler and guiders of its own around shared models. Diffusers calls Modular Diffusers
experimental; all that is private of it is in composer/compat/modular.
"""
