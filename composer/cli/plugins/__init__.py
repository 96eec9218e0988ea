"""`compose plugins`: the list, and a new package from the template."""
