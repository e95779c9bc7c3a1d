"""The README as a newcomer pastes it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def section(heading):
    return re.split(r"^## ", README.partition(f"## {heading}\n")[2], flags=re.MULTILINE)[0]


def python_blocks(text):
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_two_commands_stand_alone_on_their_lines():
    lines = README.splitlines()
    assert "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/keras-vae train" in lines
    test = "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest"
    # CI runs the first line of the README that names pytest.
    assert next(line for line in lines if "/pytest" in line) == test


def test_the_snippets_run_as_they_stand(tmp_path):
    (snippet,) = python_blocks(section("In Python"))
    (levels,) = python_blocks(section("Hierarchies"))
    (given,) = python_blocks(section("Conditions"))
    (own,) = [block for block in python_blocks(section("The map of parts")) if "register" in block]
    check = """
assert set(history.history) == {a + b for a in ("", "val_") for b in ("loss", "elbo", "log_likelihood", "kl")}
assert history.history["val_elbo"][-1] > history.history["val_elbo"][0]
assert decoder(vae.encode(images).mean()).mean().shape == images.shape
"""
    use = """
decoder = kv.Decoder(kv.networks.mlp([8]), Laplace((3, 2, 1)))
import numpy as np
assert np.isfinite(decoder(np.zeros((1, 4), "float32")).log_prob(np.zeros((1, 3, 2, 1), "float32"))).all()
"""
    (days,) = python_blocks(section("Training for days"))
    assert "epochs=1000" in days
    twice = days.replace("epochs=1000", "epochs=1") + days.replace("epochs=1000", "epochs=2")
    result = subprocess.run(
        [sys.executable, "-c", snippet + check + twice + own + use + levels + given],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "resumed from step" in result.stdout


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(?:docs|configs)/[\w/.]+`", README))))
def test_files_that_the_readme_names_exist(name):
    assert (ROOT / name.strip("`")).exists()
