"""Files and locks, memory, the console, signals, log levels, signatures: what has nothing to do with diffusion."""
