"""Weights: loading, dtypes, quantization, the cache of converted weights, integrity."""
