"""Measures the panel in a browser: `python -m benchmarks.panel`. It needs `make panel` and Chromium."""
