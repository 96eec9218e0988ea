"""`compose train`: LoRA and textual inversion on a folder of images, in one process, resumable to the bit."""
