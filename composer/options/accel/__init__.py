"""Options of ``accel=[…]``, which make runs faster; one idea a file."""
