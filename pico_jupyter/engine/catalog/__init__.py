"""Catalog: the models on this machine, described from their files alone. Loads no weights."""
