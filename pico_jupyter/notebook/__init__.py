"""Local models for code in notebooks: `connect()`, and the magics of `%load_ext pico_jupyter`."""

from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.connection import Pico, connect
from pico_jupyter.notebook.streams import AnswerStream, AsyncAnswerStream
from pico_jupyter.sources.calls import Usage

__all__ = ["Answer", "AnswerStream", "AsyncAnswerStream", "Pico", "Usage", "connect"]
