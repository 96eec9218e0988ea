"""Records of how images were generated: ``run.json``, metadata of images, and the files of a run."""
