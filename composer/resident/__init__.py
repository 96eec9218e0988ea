"""`compose --warm`: a process that keeps imports and models, and runs command lines as the plain command would.

`client` replaces the run in the command's own process, without torch and Hydra; `socket_path` is where client and
server meet; `server` is the resident process; `wire` is their protocol.
"""
