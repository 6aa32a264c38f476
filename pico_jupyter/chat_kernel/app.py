"""Runs a chat kernel with the sockets and threads of ipykernel, without the shell of IPython."""

from __future__ import annotations

from ipykernel.kernelapp import IPKernelApp

from pico_jupyter.chat_kernel.jupyter_kernel import ChatKernel


class ChatKernelApp(IPKernelApp):  # type: ignore[misc]  # ipykernel is imported without its types
    """Does not redirect stdout and stderr: the output of libraries appears in the server's log, not below a cell."""

    name = "pico-chat-kernel"
    kernel_class = ChatKernel
    outstream_class = None
