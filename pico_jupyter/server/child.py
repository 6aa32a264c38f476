"""A Jupyter server that ends when its standard input does, which whoever started it holds open.

Its first argument is the folder that it serves, and that it removes at its end.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading

from jupyter_server.serverapp import ServerApp


def main() -> None:
    """Serve until the input ends."""
    _, folder, *options = sys.argv
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        ServerApp.launch_instance([f"--ServerApp.root_dir={folder}", *options])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
