"""The command line `jupyter pico`."""

from pico_jupyter.cli.main import main

__all__ = ["main"]
