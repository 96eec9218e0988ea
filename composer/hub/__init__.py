"""Models on this machine and at the hub: what is here, how large it is, its licence, its tasks, and whether it is
complete.
"""
