"""Scheduling: which generation runs next and on which model, and how the engine recovers from a failing step."""
