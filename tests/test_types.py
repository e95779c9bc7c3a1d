"""Scripts of users under type checkers, which see the package as it is installed, and no settings."""

import importlib.util
import json
import re
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

import keras_vae

ROOT = Path(__file__).parent.parent
CELL = re.compile(r"^```(?:\{code-cell\} )?python\n(.*?)^```", re.DOTALL | re.MULTILINE)
# What a checker that knew nothing would let pass: the types of what users get, and mistakes that it has to find.
KNOWN = """
from typing import assert_type

import keras
import numpy as np
from matplotlib.figure import Figure

import keras_vae as kv
from keras_vae import conditions, data, evaluation, export, likelihoods, networks, pictures, posteriors, priors
from keras_vae.distributions.distribution import Distribution

x = np.zeros((4, 8, 8, 1), "float32")
vae = kv.VAE(
    kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(2)),
    kv.Decoder(networks.mlp([8]), likelihoods.Normal((8, 8, 1)), condition=conditions.Label(10)),
    priors.StandardNormal(2),
)
vae.compile(keras.optimizers.Adam(1e-3))
vae.fit(x, validation_data=(x,), epochs=1)
vae.fit((x, np.zeros(4)), batch_size=2, callbacks=[keras.callbacks.EarlyStopping("val_elbo")])
vae.evaluate(x, return_dict=True)
assert_type(vae.encode(x), Distribution)
assert_type(vae.decode(vae.encode(x).mean()), Distribution)
assert_type(vae.encoder(x), Distribution)
assert_type(vae.decoder(np.zeros((1, 2)), condition=[3]), Distribution)
assert_type(vae.generate(3, seed=0, condition="three").likelihood, Distribution)
print(vae.encode(x).sample(3, seed=0)[..., 0], vae.encode(x).indices, vae.infer(x, num_samples=2).elbo)
vae.predict(x, batch_size=2).mean()
vae.sample(3, seed=0).mean() + vae.reconstruct(x).mean() + vae.log_prob(x, num_samples=5).mean()
assert_type(kv.load("vae.keras"), kv.VAE)
assert_type(kv.load("vae.keras").encoder, kv.Encoder)
assert_type(kv.load("vae.keras").decoder, kv.Decoder)
assert_type(evaluation.log_likelihood(vae, x).mean, float)
assert_type(pictures.samples(vae), Figure)
print(len(export.to_saved_model(vae, "serving").checks), len(export.to_tflite(vae, "vae.tflite").left_out))
train, test = data.load("digits", batch_size=128)
vae.sample("three")  # WRONG
pictures.samples("vae.keras")  # WRONG
"""


def scripts(folder: Path) -> list[str]:
    """Those that the README and the tutorials make when they are pasted; and the one above."""
    made = {"readme": (ROOT / "README.md").read_text("utf-8"), "known": f"```python\n{KNOWN}```\n"}
    made |= {path.stem: path.read_text("utf-8") for path in (ROOT / "docs" / "tutorials").glob("*.md")}
    for name, text in made.items():
        cells = CELL.findall(text)
        assert cells, name
        (folder / f"{name}.py").write_text("\n".join(cells), "utf-8")
    return [f"{name}.py" for name in made]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A Python that has the package, and finds all others here."""
    home = tmp_path_factory.mktemp("user")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "venv"], cwd=home, check=True)
    (packages,) = home.glob("venv/lib/python3*/site-packages")
    shutil.copytree(Path(keras_vae.__file__).parent, packages / "keras_vae", symlinks=False)
    # In a checkout without links, and where it is installed for editing, a folder lies elsewhere.
    shutil.copytree(Path(keras_vae.export.__file__).parent, packages / "keras_vae" / "export", dirs_exist_ok=True)
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()), "utf-8")
    return home / "venv" / "bin" / "python"


def needs(checker: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(checker) is None
    return pytest.mark.skipif(missing, reason=f"{checker} is not installed: pip install '.[dev]'")


def wrong(script: str) -> set[int]:
    """The lines with mistakes."""
    return {n for n, line in enumerate(KNOWN.splitlines(), start=1) if "# WRONG" in line and script == "known.py"}


# Of Keras, not ours: that a learning rate is a float, by its default; that the bias of a layer may be None.
OF_KERAS = re.compile(
    r'parameter "learning_rate" of type "float"|"assign" is (?:not a known|unknown)|attribute "assign"'
)


@needs("pyright")
@pytest.mark.slow
def test_scripts_of_users_are_clean_under_pyright(installed, tmp_path):
    names = scripts(tmp_path)
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", str(installed), *names]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    report = json.loads(ran.stdout)
    assert report["summary"]["filesAnalyzed"] == len(names)
    found: dict[str, set[int]] = {name: set() for name in names}
    for said in report["generalDiagnostics"]:
        if said["severity"] == "error" and not OF_KERAS.search(said["message"]):
            found[Path(said["file"]).name].add(said["range"]["start"]["line"] + 1)
    assert found == {name: wrong(name) for name in names}, ran.stdout


@needs("mypy")
@pytest.mark.slow
def test_scripts_of_users_are_clean_under_mypy(installed, tmp_path):
    names = scripts(tmp_path)
    # Keras and TensorFlow have no types, and without the option mypy says so once for each script.
    command = [sys.executable, "-m", "mypy", "--config-file=", "--ignore-missing-imports", "--python-executable"]
    ran = subprocess.run([*command, str(installed), *names], cwd=tmp_path, capture_output=True, text=True)
    found: dict[str, set[int]] = {name: set() for name in names}
    for name, line in re.findall(r"^(\S+\.py):(\d+): error", ran.stdout, re.MULTILINE):
        found[name].add(int(line))
    assert found == {name: wrong(name) for name in names}, ran.stdout
