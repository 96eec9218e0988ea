"""Tasks: one job a file. A task knows what the first latents are and what it takes at the root of the command line."""
