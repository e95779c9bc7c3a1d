"""Sphinx: the pages of this folder, the tutorials, which are run, and the reference from the docstrings.

    python -m sphinx -W --keep-going -b html docs build/docs

Nothing is fetched from the network.
"""

import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

import docstrings  # beside this file
import mathml
import reference

from keras_vae import __version__  # before Keras: TensorFlow then starts without its messages

project, author, copyright = "keras_vae", "the authors of keras_vae", "the authors of keras_vae"
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
templates_path: list[str] = []
html_theme = "furo"
html_title = f"keras_vae {release}"
html_static_path, html_css_files = ["static"], ["pages.css"]
html_copy_source = False
html_math_renderer = "mathml"
# Typographic quotes would stand in strings of code that are quoted in prose.
smartquotes = False

# Markdown as forges show it: links to headings by their names, formulas between dollars.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True

# A tutorial is run when its cells have changed, for that is all that the cache looks at.
nb_execution_mode = os.environ.get("KERAS_VAE_DOCS_EXECUTE", "cache")
nb_execution_cache_path = str(ROOT / "build" / "docs_cache")
nb_execution_timeout = 900  # seconds for a cell, on a machine that has other work, too
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_in_temp = True
nb_merge_streams = True
# What TensorFlow says of its machine is no part of a tutorial.
nb_output_stderr = "remove"

autodoc_member_order = "groupwise"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False  # a method without a docstring does what Keras's does
autodoc_default_options = {"exclude-members": "build, get_config, from_config, compute_output_shape"}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# Where files beside this folder are read, such as configs/digits.yaml. On a forge its own variables say it; elsewhere
# such files become downloads.
SERVER, REPOSITORY = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
OUTSIDE = re.compile(r"(?<!!)\[([^\]]*)\]\(((?:\.\./)+)([^)#\s]*)(#[^)\s]*)?\)")


def links_out_of_the_folder(app: Any, name: str, source: list[str]) -> None:
    """Give each relative link to a file that is no page of this folder an address."""

    def address(link: re.Match) -> str:
        words, up, path, anchor = link.groups()
        target = ((HERE / name).parent / up / path).resolve()
        if target.is_relative_to(HERE):
            return link.group()
        if SERVER and REPOSITORY:
            kind = "tree" if target.is_dir() else "blob"
            return f"[{words}]({SERVER}/{REPOSITORY}/{kind}/main/{target.relative_to(ROOT)}{anchor or ''})"
        return f"{{download}}`{words.replace('`', '')}<{up}{path}>`"

    source[0] = OUTSIDE.sub(address, source[0])


def docstring_as_rest(app: Any, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are written to be read in an editor."""
    lines[:] = docstrings.as_rest(lines)


def property_as_rest(app: Any, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Napoleon takes what stands before a colon in the first line of a property for its type: it says what it is."""
    if what == "property" and found.__doc__:
        lines[:] = docstrings.as_rest(inspect.cleandoc(found.__doc__).splitlines())


def skip_what_is_of_keras(app: Any, what: str, name: str, found: Any, skip: bool, options: Any) -> bool | None:
    """Methods that are wrapped here, with Keras's docstrings, which have their own markup."""
    return True if str(getattr(found, "__module__", "")).startswith("keras.") else None


def signature_of_class(app: Any, what: str, name: str, found: Any, *shown: Any) -> tuple[str, str] | None:
    """The arguments of `__init__`, which Keras hides behind its own `__new__`."""
    if what != "class" or not inspect.isfunction(found.__init__):
        return None
    _, *parameters = inspect.signature(found.__init__).parameters.values()
    return str(inspect.Signature([p.replace(annotation=p.empty) for p in parameters])), ""


def setup(app: Any) -> dict[str, bool]:
    """Around napoleon, which finds the sections `Args:` and the like at the priority 500."""
    app.add_html_math_renderer("mathml", (mathml.inline, None), (mathml.block, None))
    app.add_directive("face", reference.Face)
    app.connect("source-read", links_out_of_the_folder)
    app.connect("autodoc-skip-member", skip_what_is_of_keras)
    app.connect("autodoc-process-signature", signature_of_class)
    app.connect("autodoc-process-docstring", docstring_as_rest, priority=100)
    app.connect("autodoc-process-docstring", property_as_rest, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
