"""A Jupyter kernel for people: cells are prompts, outputs are answers, and the notebook is the conversation."""
