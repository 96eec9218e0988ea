"""System services that know nothing of diffusion: files, locks, memory, console, signals, log levels, signatures."""
