"""The Jupyter server extension: HTTP endpoints in OpenAI's and Ollama's dialects. It never imports mlx."""
