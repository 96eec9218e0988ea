"""From a checked request to images: build, run, in batches."""
