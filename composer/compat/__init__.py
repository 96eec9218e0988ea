"""What composer uses of diffusers, transformers and accelerate beyond their public interfaces.

Names that begin with an underscore, functions that no documentation lists, and names that moved between versions are
imported and accessed here alone, each with the reason why. tests/compat checks that each exists and does what composer
needs, so a new version of a library that changes one fails there by name. The modules import nothing of composer.
"""
