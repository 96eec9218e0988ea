"""memory=[…]: ways to hold less at once, one idea a file."""
