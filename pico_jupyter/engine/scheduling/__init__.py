"""Scheduling: which generation runs next, on which model, and what happens when a step fails. Imports no mlx."""
