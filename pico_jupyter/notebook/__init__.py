"""Local models for code in notebooks: `connect()`, and the magics of `%load_ext pico_jupyter`."""

from pico_jupyter.notebook.answer import Answer, Usage
from pico_jupyter.notebook.connection import Pico, connect
from pico_jupyter.notebook.streams import AnswerStream, AsyncAnswerStream

__all__ = ["Answer", "AnswerStream", "AsyncAnswerStream", "Pico", "Usage", "connect"]
