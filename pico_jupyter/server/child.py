"""A Jupyter server that ends when its standard input does, which whoever started it holds open."""

from __future__ import annotations

import os
import signal
import sys
import threading

from jupyter_server.serverapp import ServerApp


def main() -> None:
    """Serve until the input ends."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    ServerApp.launch_instance()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
