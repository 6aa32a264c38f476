"""The model kernel (a Jupyter kernel process that runs the engine), its launcher and supervisor, and the link to it."""
