"""Local language and vision models inside Jupyter, on MLX.

`connect` and `ChatPanel` are imported when they are first used, so importing this package is fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from pico_jupyter.notebook import connect
    from pico_jupyter.panel import ChatPanel

__version__ = "0.1.0"
__all__ = ["ChatPanel", "__version__", "connect"]


def __getattr__(name: str) -> object:
    """Import `ChatPanel` or `connect`. Python calls this for names that the module does not define."""
    if name == "ChatPanel":
        from pico_jupyter.panel import ChatPanel

        return ChatPanel
    if name == "connect":
        from pico_jupyter.notebook import connect

        return connect
    raise AttributeError(f"module 'pico_jupyter' has no attribute {name!r}")


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics %%chat, %chat and %pico. IPython calls this for `%load_ext pico_jupyter`."""
    from pico_jupyter.notebook.magics import load

    load(shell)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Return the folder of the prebuilt JupyterLab extension. JupyterLab calls this."""
    return [{"src": "labextension", "dest": "pico-jupyter"}]


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    """Return the server extension. jupyter_server calls this when a server starts."""
    from pico_jupyter.server.extension import PicoJupyter

    return [{"module": "pico_jupyter", "app": PicoJupyter}]
