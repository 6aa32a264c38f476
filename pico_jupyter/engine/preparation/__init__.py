"""Preparation: from a request to a Generation that is ready to run. Runs on the preparation threads; imports no mlx."""
