"""Runs a chat kernel with the sockets and threads of ipykernel, but without IPython's shell."""

from __future__ import annotations

from ipykernel.kernelapp import IPKernelApp

from pico_jupyter.chat_kernel.jupyter_kernel import ChatKernel


class ChatKernelApp(IPKernelApp):  # type: ignore[misc]  # ipykernel is imported without its types
    """The application of the chat kernel. Without `outstream_class`, output of libraries goes to the server's log."""

    name = "pico-chat-kernel"
    kernel_class = ChatKernel
    outstream_class = None
