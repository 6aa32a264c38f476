"""Catalog: finds the models on this machine, and reads their properties from their files. Loads no weights."""
