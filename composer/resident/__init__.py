"""`compose --warm`: a process that keeps imports and models, and runs command lines as the plain command would.

client: what the command does instead; no torch, no Hydra. place: where the two meet. server: the process. wire: what
they say.
"""
