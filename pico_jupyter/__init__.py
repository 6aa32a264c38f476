"""Local language and vision models inside Jupyter, on MLX. The public surface; importing it loads nothing heavy."""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["__version__"]


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    """Tell jupyter_server where the extension is. It imports the class only when a server starts."""
    from pico_jupyter.server.extension import PicoJupyter

    return [{"module": "pico_jupyter", "app": PicoJupyter}]
