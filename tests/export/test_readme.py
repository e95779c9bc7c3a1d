"""The page on exports: every snippet that can run here runs as it stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import export_models
import keras
import numpy as np
import pytest

from keras_vae.export.proof import fresh
from keras_vae.export.proof.fresh import Call
from keras_vae_cli.commands.export import export_run

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "export.md"


@pytest.fixture(scope="module")
def section():
    return PAGE.read_text()


@pytest.fixture(scope="module")
def workplace(section, tmp_path_factory, digits):
    """A folder in which `runs/digits` has been trained and exported."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("readme")
    (folder / "runs" / "digits").mkdir(parents=True)
    export_models.trained(digits, "dense", epochs=1).save(folder / "runs" / "digits" / "vae.keras")
    export_run(folder / "runs" / "digits")
    return folder


def blocks(section, language):
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


def run(code, folder):
    # Nothing of this repository on the path: the snippets need the exported files alone.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout


def test_the_device_snippet_runs_without_tensorflow_in_fifteen_lines(section, workplace):
    (code,) = [block for block in blocks(section, "python") if "ai_edge_litert" in block]
    assert len(code.splitlines()) <= 15
    modules = run(code + "\nimport sys\nprint('MODULES', *sys.modules)", workplace).rpartition("MODULES ")[2].split()
    assert "ai_edge_litert" in modules
    assert not {"tensorflow", "keras", "tf_keras", "tensorflow_probability", "keras_vae"}.intersection(modules)


def test_the_device_snippet_draws_what_is_beyond_black_and_white(section, tmp_path):
    (code,) = [block for block in blocks(section, "python") if "ai_edge_litert" in block]
    given = "import numpy as np\npicture = np.linspace(-0.5, 1.5, 64).reshape(8, 8, 1)\n"
    rows = run(given + code[code.index("for row") :], tmp_path).splitlines()
    assert len(rows) == 8 and rows[0] == " " * 8 and rows[-1] == "@" * 8


def test_the_keras_snippet_runs_and_gives_pictures(section, workplace):
    (code,) = [block for block in blocks(section, "python") if "TFSMLayer" in block]
    printed = run(
        code + "\nprint('SHAPE', pictures.shape, float(np.min(pictures)), float(np.max(pictures)))", workplace
    )
    shape, low, high = re.search(r"SHAPE (\(.*?\)) (\S+) (\S+)", printed).groups()
    assert shape == "(2, 8, 8, 1)" and 0.0 <= float(low) < float(high) <= 1.0


def test_the_request_to_the_server_is_one_that_the_model_answers(section, workplace):
    (shell,) = [block for block in blocks(section, "bash") if "docker run" in block]
    served = workplace / "runs" / "digits" / "export" / "saved_model"
    assert "runs/digits/export/saved_model" in shell
    name = re.search(r'base_path: "/models/(\w+)"', (served / "models.config").read_text())[1]
    assert f"/models/{name}/models.config" in shell and f"/v1/models/{name}:predict" in shell
    body = json.loads(re.search(r"curl .*?-d '(.*?)'", shell)[1])
    inputs = {key: np.array([row[key] for row in body["instances"]], "int32") for key in body["instances"][0]}
    result = fresh.run(served / "1", [Call(body["signature_name"], inputs)]).results[0]
    assert result.ok and result.outputs["mean"].shape == (len(body["instances"]), 8, 8, 1)
