"""The chat panel for notebook cells."""

from pico_jupyter.panel.widget import ChatPanel

__all__ = ["ChatPanel"]
