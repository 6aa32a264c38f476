"""Starts the chat kernel: `python -m pico_jupyter.chat_kernel -f CONNECTION_FILE`, as in its kernelspec."""

from pico_jupyter.chat_kernel.app import ChatKernelApp

ChatKernelApp.launch_instance()
