"""`keras-vae evaluate --samples N`: samples judged in the features of a network."""

import json
import shutil

import keras
import numpy as np
import pytest

from keras_vae import evaluation, networks
from keras_vae.models.storage import untrusted

QUICK = ("--num-samples", "2", "--limit", "60")


@pytest.fixture
def run(digits_run, tmp_path):
    return shutil.copytree(digits_run, tmp_path / "run")


def network(path, shape=(8, 8, 1)):
    inputs = keras.Input(shape)
    made = keras.Model(inputs, networks.FeatureNetwork([4, 4])(inputs))
    made.save(path)
    return made


def test_samples_are_judged_and_the_report_has_the_numbers(run, ended, tmp_path):
    made = network(tmp_path / "f.keras")
    code, out, _ = ended("evaluate", run, *QUICK, "--samples", "50", "--features", tmp_path / "f.keras", "--seed", "3")
    assert code == 0
    found = json.loads((run / "report.json").read_text())["samples"]
    assert (found["num_real"], found["num_drawn"], found["num_features"]) == (50, 50, 8)
    assert found["features"] == str(tmp_path / "f.keras")
    assert not (run / "features.keras").exists()
    for name in ("KID", "FID", "precision", "recall", "f.keras", "50 samples against 50 test examples"):
        assert name in " ".join(out.split())
    vae = untrusted.load(run / "vae.keras")
    drawn = vae.sample(50, seed=3, noise=True)
    # Against other draws of the same model they are far nearer than to digits.
    other = evaluation.kid(drawn, vae.sample(50, seed=4, noise=True), made)
    assert abs(other.value) < 0.5 * found["samples"]["kid"]["value"]
    assert np.isfinite(found["training_data"]["fid"]["corrected"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--features", "f.keras"], "--features is for --samples"),
        (["--samples", "20", "--features", "none.keras"], "there is no such file"),
        (["--samples", "20", "--features", "no_model.keras"], "no Keras model that can be loaded"),
        (["--samples", "3"], "Must be >= 8"),
    ],
)
def test_what_cannot_be_judged_is_said_at_once(run, ended, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no_model.keras").write_text("no model")
    network(tmp_path / "f.keras")
    code, out, err = ended("evaluate", run, *QUICK, *options)
    assert code != 0 and message in " ".join((out + err).replace("│", " ").split())


@pytest.mark.slow
def test_a_network_is_trained_once_and_kept(run, ended):
    first, second = (ended("evaluate", run, *QUICK, "--samples", "40")[1] for _ in range(2))
    assert "Training a network of features" in first and "Training a network" not in second
    report = json.loads((run / "report.json").read_text())
    assert report["samples"]["features"] == str(run / "features.keras")
    assert isinstance(keras.saving.load_model(run / "features.keras"), keras.Model)
