"""Structured output: grammars for answers and tool calls, and the limits that they set on the tokens of a row."""
