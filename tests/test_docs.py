"""The pages of docs/ as Sphinx takes them, without Sphinx."""

import importlib
import pkgutil
import re
import sys
from pathlib import Path

import pytest

import keras_vae as kv

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {path.relative_to(DOCS).with_suffix("").as_posix(): path.read_text("utf-8") for path in DOCS.rglob("*.md")}
CELL = re.compile(r"^```\{code-cell\} python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def listed(page):
    """The pages that stand in the tables of contents of one."""
    tables = re.findall(r"^```\{toctree\}\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)
    names = [line for table in tables for line in table.splitlines() if line and not line.startswith(":")]
    return {(Path(page).parent / name).as_posix() for name in names}


def test_every_page_is_in_one_table_of_contents():
    tables = [listed(page) for page in PAGES]
    assert set().union(*tables) | {"index"} == set(PAGES)
    assert sum(map(len, tables)) == len(PAGES) - 1


def test_every_face_of_the_package_has_a_page_in_the_reference():
    faces = {f"keras_vae.{name}" for name in kv.__all__ if hasattr(getattr(kv, name), "__path__")}
    faces |= {f"keras_vae.{info.name}" for info in pkgutil.iter_modules(kv.__path__) if info.name in kv.__all__}
    pages = re.findall(r"^\.\. face:: (\S+)$", "\n".join(PAGES.values()), re.MULTILINE)
    assert len(pages) == len(set(pages)) and faces | {"keras_vae"} <= set(pages)
    for page in pages:
        importlib.import_module(page)


@pytest.mark.parametrize("page", sorted(page for page in PAGES if page.startswith("tutorials/")))
def test_a_tutorial_has_cells_that_are_run_as_python(page):
    head, *_ = PAGES[page].split("\n# ")
    assert "kernelspec: {name: python3" in head and "format_name: myst" in head
    cells = CELL.findall(PAGES[page])
    assert cells and all(compile(cell, page, "exec") for cell in cells)


@pytest.fixture
def as_rest(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    yield importlib.import_module("docstrings").as_rest
    del sys.modules["docstrings"]


def test_docstrings_keep_what_they_say(as_rest):
    given = ["log p(x|z) of `x`, z* too, E_q[x_].", "", "Args:", "    latent_dim: L.", "    **kwargs: others."]
    assert as_rest(given) == [
        r"log p(x\|z) of ``x``, z\* too, E_q[x\_].",
        "",
        "Args:",
        r"    latent_dim: L\.",
        "    **kwargs: others.",
    ]


def test_code_in_docstrings_is_code(as_rest):
    code = ["    vae.fit(x)  # *x*", "", "    vae.sample(1)"]
    shown = ["", "::", "", *code, ""]
    assert as_rest(["So:", "", *code]) == ["So:", *shown]
    assert as_rest(["So:", "", "```python", "vae.fit(x)  # *x*", "", "vae.sample(1)", "```"]) == ["So:", "", *shown]
    assert as_rest(["- one", "- two", "Three."]) == ["- one", "- two", "", "Three."]
