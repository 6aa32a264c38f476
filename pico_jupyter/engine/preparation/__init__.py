"""Preparation: renders a request's prompt, prepares its media and makes the generation that the scheduler runs."""
