"""Backends: models of mlx-lm and mlx-vlm behind the Backend interface."""
