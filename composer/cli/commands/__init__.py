"""What `compose COMMAND` does, a file each."""
