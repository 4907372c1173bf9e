"""Sphinx configuration of the API reference; ``make docs`` builds it, and a warning is an error."""

import rendernet_jax

project = "rendernet_jax"
author = "the rendernet_jax maintainers"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "alabaster"
html_theme_options = {"description": rendernet_jax.__doc__.partition("\n")[0], "page_width": "1100px"}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
exclude_patterns = ["_build"]
