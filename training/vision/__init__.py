"""The code that made pico-tiny-vl: generated images and videos, questions about them, and the training."""
