"""Runs a Jupyter server that ends when its standard input is closed, so that it cannot outlive its parent process.

The first argument is the server's root folder, which is removed at the end. The others are options of jupyter_server.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading

from jupyter_server.serverapp import ServerApp


def main() -> None:
    """Serve until standard input is closed."""
    _, folder, *options = sys.argv
    threading.Thread(target=_terminate_after_input, daemon=True).start()
    try:
        ServerApp.launch_instance([f"--ServerApp.root_dir={folder}", *options])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _terminate_after_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
