"""Callbacks that act on every denoising step: the protocol in `base`, and one built-in callback a file."""
