"""How Sphinx builds these pages: nothing is fetched, and the pages fetch nothing."""

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
# Other packages have their pages elsewhere, and what is private has none.
nitpick_ignore_regex = [
    ("py:.*", r"(collections\.abc|typing|t)\..*"),
    ("py:class", r"(Async)?(Client|OpenAI)"),
    ("py:class", r"pico_jupyter\.(sources\..*|notebook\.questions\.QuestionOptions)"),
]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# Docstrings set names in single quotes, as Markdown has them.
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
