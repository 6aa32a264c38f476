"""Scheduler (being written)."""
