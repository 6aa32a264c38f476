"""The engine: catalog, model manager, scheduler and backends. Knows neither HTTP nor Jupyter."""

import os

# transformers is here for its tokenizers; that PyTorch is missing is nothing to advise people about.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
