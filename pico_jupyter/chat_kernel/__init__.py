"""A Jupyter kernel for chats: each cell is a prompt, its output is the answer, and the notebook is the conversation."""
