"""Preparation: renders a request's prompt, decodes its media, and builds the generation that the scheduler runs."""
