"""Media: decodes images and videos and prepares them for a vision model with the model's own processor."""
