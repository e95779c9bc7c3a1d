"""Reports say which code, versions, command and config made them."""

import json
import subprocess

import pytest
import tensorflow as tf

from keras_vae_cli import settings
from keras_vae_cli.commands import provenance


def test_what_made_a_report(tmp_path):
    found = provenance.provenance(settings.load(None, ["train.seed=3"]), num_samples=7)
    assert json.loads(json.dumps(found)) == found
    assert found["seed"] == 3 and found["num_samples"] == 7 and found["config"]["train"]["seed"] == 3
    assert found["versions"]["tensorflow"] == tf.__version__ and found["command"].startswith("keras-vae")
    line = provenance.in_a_line(found)
    assert f"TensorFlow {tf.__version__}" in line and "seed 3" in line


def test_the_commit_is_that_of_the_checkout_and_changes_are_told(tmp_path):
    def git(*arguments):
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
        return done.stdout.decode().strip()

    package = tmp_path / "keras_vae"
    package.mkdir()
    (tmp_path / "pyproject.toml").write_text("")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert provenance._commit(package) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "pyproject.toml").write_text("# changed")
    assert provenance._commit(package) == (git("rev-parse", "HEAD"), True)
    # A folder that only happens to lie inside of another repository is none.
    (package / "keras_vae").mkdir()
    assert provenance._commit(package / "keras_vae")[1] is None


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU")
def test_one_line_says_what_is_missing_for_a_gpu(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(provenance, "DRIVER", "libcuda-that-is-not-there.so.1")
    assert provenance.device_in_a_line().startswith("On the CPU: there is no driver of an NVIDIA GPU (libcuda-that")
    monkeypatch.setattr(provenance, "DRIVER", None)  # this process itself, which can be loaded
    monkeypatch.setattr(provenance, "LIBRARY", "no-such-library")
    assert "pip install '.[gpu]'" in provenance.device_in_a_line()
    monkeypatch.setattr(provenance, "LIBRARY", "numpy")
    assert "TF_CPP_MIN_LOG_LEVEL=0" in provenance.device_in_a_line()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "$CUDA_VISIBLE_DEVICES hides" in provenance.device_in_a_line()
