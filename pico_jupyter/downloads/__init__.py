"""Downloads: gets models from the Hugging Face hub, and deletes them.

The server and the terminal use the manager. All work on the network is in child processes, which the manager starts.
"""
