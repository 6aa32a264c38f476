"""Memory: which models are loaded, what they need, and which prefixes are kept, under one budget of bytes."""
