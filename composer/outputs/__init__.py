"""What composer has generated on this machine: listing, sizes, and removal by age and number."""
