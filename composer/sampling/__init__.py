"""The denoising loop, schedulers, guidance and callbacks. It knows no model layout."""
