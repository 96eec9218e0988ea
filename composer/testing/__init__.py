"""For tests, ours and those of callback authors: tiny random pipelines of every family, real in all but size."""
