"""The model kernel: a Jupyter kernel process that hosts the engine, its launcher and supervisor, and the link to it."""
