"""Runs a Jupyter server until its standard input is closed, at the latest when the parent process ends.

The first argument is the folder to serve, which is removed at the end. The server has END_SECONDS to stop. Then the
process ends, even if an extension is still running.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time

from jupyter_server.serverapp import ServerApp

END_SECONDS = 30.0


def main() -> None:
    """Serve until standard input is closed."""
    _, folder, *options = sys.argv
    # Before the server sets its own handler, SIGTERM must also run the cleanup below.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    threading.Thread(target=_terminate_after_input, daemon=True).start()
    try:
        ServerApp.launch_instance([f"--ServerApp.root_dir={folder}", *options])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _terminate_after_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
