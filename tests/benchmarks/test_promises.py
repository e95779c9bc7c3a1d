"""What the configs promise: the lines in their heads, what measures them, and the table of the docs."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BENCHMARKS = ROOT / "benchmarks"
NAMES = sorted(str(path.relative_to(ROOT / "configs").with_suffix("")) for path in (ROOT / "configs").rglob("*.yaml"))
MEASURES = sorted(path for path in (BENCHMARKS / "measures").glob("*.py") if path.stem != "__init__")
LINE = "# Promise: test_elbo >= -23.9 (measured -23.3, -23.4 with seeds 0, 1; 0.4 min of one core; 2026-11-26)"


@pytest.fixture
def promises(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("promises")


def head(name):
    text = (ROOT / "configs" / f"{name}.yaml").read_text()
    return [line for line in text[: text.index("\ndata:")].splitlines() if line.startswith("#")]


@pytest.mark.parametrize("name", NAMES)
def test_every_config_promises_what_a_measure_can_find(name, promises):
    made = promises.of(name)
    assert made, f"configs/{name}.yaml promises nothing: a line of its head is {promises.FORM}"
    assert {promise.metric for promise in made} <= {path.stem for path in MEASURES}
    # The default needs no name.
    command = "keras-vae train" + ("" if name == "digits" else f".*{Path(name).name}")
    assert any(re.search(command, line) for line in head(name))
    # What no one could measure says why.
    assert all(promise.measured or promise.remark for promise in made)


def test_the_names_are_those_that_the_command_knows(promises):
    assert sorted(promises.names()) == NAMES
    assert ["/" in name for name in promises.names()] == sorted("/" in name for name in NAMES)


@pytest.mark.parametrize("path", MEASURES, ids=lambda path: path.stem)
def test_a_measure_is_a_function_of_a_run_that_says_what_it_is(path):
    functions = {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
    assert ast.unparse(functions["measure"]).startswith("def measure(run: Path) -> float:")
    assert ast.get_docstring(functions["measure"])


def test_measures_are_promised_or_used_by_others(promises):
    promised = {p.metric for name in NAMES for p in promises.of(name)}
    used = set(re.findall(r"from measures import (\w+)", "".join(path.read_text() for path in MEASURES)))
    assert {path.stem for path in MEASURES} <= promised | used


def test_a_line_is_read(promises):
    (found,) = promises.parse(f"# A config.\n{LINE}\n# More.\ndata: {{}}\n", "x")
    assert found == promises.Promise(
        "test_elbo", ">=", -23.9, (0, 1), (-23.3, -23.4), "0.4 min of one core", "2026-11-26"
    )
    assert found.is_met(-23.9) and not found.is_met(-24.0) and not found.is_met(float("nan"))
    below = promises.Promise("bits_per_dim", "<=", 4.5)
    assert below.is_met(4.5) and not below.is_met(4.6) and not below.is_met(float("nan"))


def test_a_long_line_goes_on_and_a_remark_is_kept(promises):
    text = LINE.replace("0.4 min", "0.4 min of two,\n#   or").replace("-26)", "-26; on\n#   other (real) data)")
    first, second = promises.parse(
        f"{text}\n# Promise: kid <= 0.2 (not measured: no faces (LFW) at hand)\ndata: {{}}", "x"
    )
    assert first.minutes == "0.4 min of two, or of one core" and first.remark == "on other (real) data"
    assert second == promises.Promise("kid", "<=", 0.2, (0,), remark="no faces (LFW) at hand")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LINE.replace(">=", ">"), "is not of the form"),
        (LINE.replace("# Promise", "#promise"), "is not of the form"),
        (LINE.replace("seeds 0, 1", "seeds 0"), "2 numbers with 1 seeds"),
        (LINE.replace("2026-11-26", "today"), "what stands in parentheses"),
        (LINE.replace("0.4 min of one core; ", ""), "what stands in parentheses"),
        (LINE.replace("-23.4", "-24.4"), "says that -24.4 was measured"),
        (LINE.removesuffix(")") + "\n# Promise: kid <= 1 (not measured: no data)", "is not of the form"),
        ("data: {}\n" + LINE, "line 2: a promise stands in the head"),
    ],
)
def test_what_is_no_promise_is_said(text, said, promises):
    with pytest.raises(promises.HeadError, match=re.escape(said)) as error:
        promises.parse(text, "configs/x.yaml")
    assert str(error.value).startswith("configs/x.yaml, line ")


def test_the_table_of_the_docs_is_that_of_the_heads(promises):
    assert promises.table() in promises.PAGE.read_text(), "write it anew: python benchmarks/promises.py"
