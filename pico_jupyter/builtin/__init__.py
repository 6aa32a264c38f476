"""The models that ship inside the package: a folder each, named as the model."""
