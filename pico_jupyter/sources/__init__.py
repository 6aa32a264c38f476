"""Where answers come from for code in notebooks: the Jupyter server of this kernel, or an engine here."""
