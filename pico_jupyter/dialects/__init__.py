"""Translates HTTP bodies of the OpenAI and Ollama APIs to requests, and deltas to response bodies. Does no I/O."""
