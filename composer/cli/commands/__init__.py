"""The commands of `compose COMMAND`, a file each."""
