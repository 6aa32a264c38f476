"""The engine: finds models, prepares requests, schedules them and runs them on backends."""

import os

# transformers warns at import when PyTorch is missing. The engine uses only its tokenizers, which need no PyTorch.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
