"""Options of ``memory=[…]``, which need less memory; one idea a file."""
