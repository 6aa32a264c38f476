"""Text: from text to token ids and back, chat templates, and the parsing of a model's output into deltas."""
