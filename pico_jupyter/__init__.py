"""Local language and vision models inside Jupyter, on MLX. The public surface; importing it loads nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from pico_jupyter.notebook import connect
    from pico_jupyter.panel import ChatPanel

__version__ = "0.1.0"
__all__ = ["ChatPanel", "__version__", "connect"]


def __getattr__(name: str) -> object:
    """Import the panel, and ipywidgets with it, and the connection for those only who ask for them."""
    if name == "ChatPanel":
        from pico_jupyter.panel import ChatPanel

        return ChatPanel
    if name == "connect":
        from pico_jupyter.notebook import connect

        return connect
    raise AttributeError(f"module 'pico_jupyter' has no attribute {name!r}")


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext pico_jupyter`: %%chat, %chat and %pico."""
    from pico_jupyter.notebook.magics import load

    load(shell)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Tell JupyterLab where the prebuilt extension is."""
    return [{"src": "labextension", "dest": "pico-jupyter"}]


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    """Tell jupyter_server where the extension is. It imports the class only when a server starts."""
    from pico_jupyter.server.extension import PicoJupyter

    return [{"module": "pico_jupyter", "app": PicoJupyter}]
