"""accel=[…]: ways to be faster, one idea a file."""
