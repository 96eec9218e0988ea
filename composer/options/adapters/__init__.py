"""Adapters: small files that change what a model computes, as options that are removed without a trace."""
