"""The process of a chat kernel: ipykernel's sockets and threads, without IPython's shell."""

from __future__ import annotations

from ipykernel.kernelapp import IPKernelApp

from pico_jupyter.chat_kernel.kernel import ChatKernel


class ChatKernelApp(IPKernelApp):  # type: ignore[misc]  # ipykernel's types are not looked at
    """What libraries print goes to the server's log, and not below a cell."""

    name = "pico-chat-kernel"
    kernel_class = ChatKernel
    outstream_class = None
