"""Unconditional diffusion in pixel space."""
