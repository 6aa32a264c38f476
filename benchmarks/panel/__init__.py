"""What the panel costs in a browser. Run it by `python -m benchmarks.panel`; it needs `make panel` and a Chromium."""
