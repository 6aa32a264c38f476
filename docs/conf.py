"""Sphinx configuration. Neither the build nor the pages load anything from the network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from pico_jupyter import __version__

project = "pico_jupyter"
author = "The pico_jupyter developers"
project_copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "generated"]
exclude_patterns = ["_build"]
nitpicky = True
# The documentation has no page for these names. They belong to other packages or are private.
nitpick_ignore_regex = [
    ("py:.*", r"(collections\.abc|typing|t)\..*"),
    ("py:class", r"(Async)?(Client|OpenAI)|NDArray|np\.float32"),
    ("py:class", r"pico_jupyter\.(sources\..*|notebook\.chat_arguments\.ChatArguments)"),
]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# Docstrings put names in single backquotes, as Markdown does.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"

html_theme = "furo"
html_title = "pico_jupyter"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"top_of_page_buttons": []}
