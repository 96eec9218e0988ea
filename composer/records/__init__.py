"""How an image was made: run.json, image metadata, and the files of a run."""
