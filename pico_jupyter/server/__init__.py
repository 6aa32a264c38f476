"""The Jupyter server extension. Imports no mlx."""
