"""Sources of answers for code in notebooks and for the command line: a Jupyter server, or an engine."""
