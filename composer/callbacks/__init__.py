"""Hooks into every denoising step: the protocol in `base`, one built-in callback a file."""
