"""``control=MODEL``: control models, which add to a denoiser what they read of another image."""
