"""Sphinx: pages in Markdown, notebooks as they are stored, the reference from the docstrings, which are validated."""

import xp_istft

project = "xp_istft"
author = copyright = "The xp_istft developers"
version = release = xp_istft.__version__

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", "results/memory-*"]  # memory stands in the page of the CPU, too
default_role = "py:obj"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks/execute.py runs them
suppress_warnings = ["myst.xref_missing"]  # links to files outside docs/; tests/test_readme.py follows every link

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"  # the docstrings say more
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
# Left out: sections that not every docstring needs, what groups parameters that another function explains, what takes
# nouns for verbs; methods, which their class explains; functions under other libraries' names, which those explain.
numpydoc_validation_checks = {
    "all", "ES01", "EX01", "GL01", "GL02", "GL03", "PR03", "PR04", "RT04", "SA01", "SS05", "YD01",
}  # fmt: skip
numpydoc_validation_exclude = {r"[A-Z]\w*\.\w+$", r"^xp_istft\.compat\."}

html_theme = "furo"
html_title = f"xp_istft {version}"
