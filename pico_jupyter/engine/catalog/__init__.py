"""Catalog: finds the models on this machine and describes them by their files. Loads no weights."""
