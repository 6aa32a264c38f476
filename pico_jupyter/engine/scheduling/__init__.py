"""Scheduling: decides which generation runs next and on which model, and recovers from failed backend calls."""
