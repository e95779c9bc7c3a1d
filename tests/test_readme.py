"""The README and the pages of docs/ as a newcomer pastes and clicks them."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
}
FACES = (
    *(
        "callbacks",
        "compression",
        "conditions",
        "disentanglement",
        "evaluation",
        "export",
        "flows",
        "likelihoods",
        "networks",
    ),
    *("objectives", "pictures", "posteriors", "priors", "schedules"),
)
# Of modules of the past, and of those that are no faces but had their own name once.
GONE = (
    *("code_priors", "discrete", "drawing", "features", "fitting", "guard", "hierarchy", "quantization"),
    *("regularizers", "restoration", "runs"),
)


def section(page, heading):
    (found,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGES[page], re.DOTALL | re.MULTILINE)
    return found


def blocks(text, language="python"):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def without_code(text):
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text):
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_the_two_commands_stand_alone_on_their_lines():
    lines = README.splitlines()
    assert "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/keras-vae train" in lines
    test = "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest"
    # CI runs the line of the README that names pytest.
    assert [line for line in lines if "/pytest" in line] == [test]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.slow
def test_the_snippets_run_as_they_stand(tmp_path):
    (snippet,) = blocks(section("README.md", "In Python"))
    levels = "\n".join(blocks(section("docs/conditions_and_hierarchies.md", "Hierarchies")))
    given = "\n".join(blocks(section("docs/conditions_and_hierarchies.md", "Conditions")))
    own, *_ = blocks(section("docs/parts.md", "Parts of your own"))
    (added,) = blocks(section("CONTRIBUTING.md", "Add a part"))
    check = """
assert set(history.history) == {a + b for a in ("", "val_") for b in ("loss", "elbo", "log_likelihood", "kl")}
assert len(repr(estimate)) < 300  # a notebook shows numbers, not those of each image
assert history.history["val_elbo"][-1] > history.history["val_elbo"][0]
assert decoder(vae.encode(images).mean()).mean().shape == images.shape
# 0.67 and 0.68 with two seeds; with a normal prior 0.81 and 0.85, and few of the digits can be named.
assert evaluation.nearest_neighbours(test, vae.sample(360, seed=0)).accuracy < 0.76
"""
    use = """
decoder = kv.Decoder(kv.networks.mlp([8]), Laplace((3, 2, 1)))
import numpy as np
assert np.isfinite(decoder(np.zeros((1, 4), "float32")).log_prob(np.zeros((1, 3, 2, 1), "float32"))).all()
"""
    use_added = """
q = kv.Encoder(kv.networks.mlp([8]), Logistic(2))(np.zeros((3, 4), "float32"))
assert np.isfinite(q.log_prob(q.sample())).all()
"""
    (days,) = blocks(section("docs/training.md", "Training for days"))
    assert "epochs=1000" in days
    twice = days.replace("epochs=1000", "epochs=1") + days.replace("epochs=1000", "epochs=2")
    (known,) = [block for block in blocks(PAGES["docs/evaluation.md"]) if "linear_probe" in block]
    assert "num_samples=5000" in known and "(vae, test, train)" in known
    known = known.replace("num_samples=5000", "num_samples=10").replace("test, train)", "test, train, num_samples=10)")
    result = subprocess.run(
        [sys.executable, "-c", snippet + check + twice + known + own + use + added + use_added + levels + given],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "resumed from step" in result.stdout
    assert (tmp_path / "samples.png").exists() and (tmp_path / "traversals.png").exists()


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_picture_exists(page):
    text = without_code(PAGES[page])
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    for target in targets:
        if re.match(r"[a-z]+://|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        assert path.exists() and path.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(path.read_text()), target


@pytest.mark.parametrize("page", PAGES)
def test_files_and_configs_that_a_page_names_exist(page):
    text = PAGES[page].replace("keras_vae/posteriors/logistic.py", "")  # the one that CONTRIBUTING.md adds
    for name in re.findall(r"(?<![\w/.])(?:benchmarks|configs|docs|keras_vae|tests)/[\w/]*(?:\.\w+)?", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`(?:tests/)?((?:\w+/)?test_\w+\.py)`", text):
        assert (ROOT / "tests" / name).exists(), name
    for name in re.findall(r"keras-vae train ([a-z]\w*(?:/\w+)*)(?![\w./])", text):
        assert (ROOT / "configs" / f"{name}.yaml").exists(), name


@pytest.mark.parametrize("page", PAGES)
def test_names_of_the_package_that_a_page_mentions_exist(page):
    # Without the addresses of links, the names of files, and settings such as export.quantize=[int8].
    text = re.sub(r"\]\([^)]*\)|[\w./]+\.(?:md|json|yaml|py|png|tflite|keras)\b", "", PAGES[page])
    for face, name in re.findall(rf"(?<![\w./\-])(kv|{'|'.join(FACES)})\.([A-Za-z]\w*)\b(?!=)", text):
        module = "keras_vae" if face == "kv" else f"keras_vae.{face}"
        if (face, name) == ("posteriors", "Logistic"):  # the one that CONTRIBUTING.md adds
            continue
        if not hasattr(importlib.import_module(module), name):
            importlib.import_module(f"{module}.{name}")
    assert not re.findall(rf"`(?:keras_vae\.)?(?:{'|'.join(GONE)})\.\w+", PAGES[page])


def test_the_map_has_every_folder_of_the_package():
    folders = {path.parent.name for path in (ROOT / "keras_vae").glob("*/__init__.py")}
    named = set(re.findall(r"`(\w+)/`", section("docs/architecture.md", "The folders")))
    assert folders <= named
