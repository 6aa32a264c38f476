"""Text: tokenizers, chat templates, and the parser that turns a model's output into deltas."""
