"""Declarative descriptions of how models write reasoning, tool calls and messages."""
