"""Backends: the only modules that touch MLX."""
