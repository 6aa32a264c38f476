"""The one protocol between the Jupyter server and the model kernel. Neither end does I/O: messages are bytes."""
