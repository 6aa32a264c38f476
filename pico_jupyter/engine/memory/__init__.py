"""Memory: loaded models, their memory and the prefix cache, under one budget of bytes."""
