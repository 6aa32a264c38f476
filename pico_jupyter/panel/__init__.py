"""The chat panel for notebooks. Knows widgets; where a server answers, the browser talks to that and not to this."""

from pico_jupyter.panel.widget import ChatPanel

__all__ = ["ChatPanel"]
