"""`python -m pico_jupyter.chat_kernel -f CONNECTION_FILE` is what the kernelspec starts."""

from pico_jupyter.chat_kernel.app import ChatKernelApp

ChatKernelApp.launch_instance()
