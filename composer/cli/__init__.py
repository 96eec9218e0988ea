"""All that is typed: the command line."""
