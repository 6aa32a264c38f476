"""Text: from a conversation to prompt tokens, and from output tokens to text, reasoning and tool calls."""
