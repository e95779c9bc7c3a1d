"""`compress` and `decompress`: one file that is as large as the ELBO says, and the images that were in it."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import keras_vae as kv
from keras_vae import compression, data


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    """Black and white pictures of the size that the digits have, in folders."""
    folder = tmp_path_factory.mktemp("drawings") / "some"
    generator = np.random.default_rng(0)
    for name in ("b.png", "a/2.png", "a/10.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((generator.random((8, 8)) > 0.6).astype("uint8") * 255).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def conditional_run(tmp_path_factory, left_by_training):
    """A run on digits given their label, as training leaves it but for the training."""
    network = "{name: mlp, units: [8]}"
    text = f"model: {{latent_dim: 2, encoder: {network}, decoder: {network}, likelihood: Bernoulli}}\n"
    data = "data: {name: digits, binarize: threshold, condition: label}\n"
    return left_by_training(tmp_path_factory.mktemp("conditional") / "run", data + text)


@pytest.fixture(scope="module")
def compressed(digits_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("compressed") / "x.kvae"
    x = kv.load(digits_run / "vae.keras").sample(100, seed=0, noise=True)
    path.write_bytes(compression.compress(kv.load(digits_run / "vae.keras"), x).content)
    return path, x


def test_the_test_examples_of_a_run_in_a_file_and_back(digits_run, tmp_path, ended):
    code, out, err = ended("compress", digits_run, "-o", tmp_path / "deep" / "test.kvae")
    assert code == 0, err
    size = (tmp_path / "deep/test.kvae").stat().st_size
    assert f"{size:,} bytes, decoded again and found the same" in out
    said = (
        r"examples: ([\d.]+) bits/dim.*\nTheir ELBO: (-[\d.]+) nats each, ([\d.]+) bits/dim, .* file is ([+-][\d.]+)%"
    )
    rate, nats, bound, more = map(float, re.search(said, out).groups())
    test = np.concatenate(list(data.load("digits", binarize="threshold")[1].as_numpy_iterator()))
    assert rate == pytest.approx(8 * size / test.size, abs=1e-4)
    assert nats == pytest.approx(-bound * 64 * np.log(2), abs=0.01) and more == pytest.approx(
        100 * (rate / bound - 1), abs=0.05
    )
    assert nats == pytest.approx(json.loads((digits_run / "report.json").read_text())["training"]["test_elbo"], abs=0.3)
    code, out, err = ended("decompress", digits_run, tmp_path / "deep/test.kvae", "-o", tmp_path / "back.npz")
    assert code == 0, err
    np.testing.assert_array_equal(np.load(tmp_path / "back.npz")["images"], test)


def test_pictures_come_back_under_their_names(digits_run, drawings, tmp_path, ended):
    code, out, err = ended("compress", digits_run, drawings, "-o", tmp_path / "some", "--refine-steps", "3")
    assert code == 0, err
    assert "of names" in out and "With posteriors fitted in 3 steps: -" in out
    assert "as the model sees them: images of 8 x 8 x 1 (height x width x channels) on 2 levels" in out
    code, _, err = ended("decompress", digits_run, tmp_path / "some", "-o", tmp_path / "back")
    assert code == 0, err
    for path in drawings.rglob("*.png"):
        np.testing.assert_array_equal(pixels(tmp_path / "back" / path.relative_to(drawings)), pixels(path))
    assert len(list((tmp_path / "back").rglob("*.png"))) == 3


def test_what_is_no_whole_file_of_this_model_leaves_nothing_behind(digits_run, compressed, tmp_path, ended):
    path, _ = compressed
    content = path.read_bytes()
    for name, wrong in (
        ("cut", content[:-7]),
        ("changed", content[:200] + b"!" + content[201:]),
        ("other", b"PNG" * 9),
    ):
        (tmp_path / name).write_bytes(wrong)
        code, _, err = ended("decompress", digits_run, tmp_path / name, "-o", tmp_path / "back.npz")
        assert code == 1 and re.search("damaged|no file of keras-vae compress", err), err
    vae = kv.load(digits_run / "vae.keras")
    vae.decoder.output_layer.bias.assign_add([1.0] * 64)
    vae.save(tmp_path / "other.keras")
    code, _, err = ended("decompress", tmp_path / "other.keras", path, "-o", tmp_path / "back.npz")
    assert code == 1 and "made by another model" in err
    assert not (tmp_path / "back.npz").exists()
    assert ended("decompress", digits_run, tmp_path / "none", "-o", tmp_path / "back.npz")[0] == 2


def test_nothing_is_replaced_unless_that_is_said(digits_run, drawings, compressed, tmp_path, ended):
    kept = tmp_path / "kept.kvae"
    kept.write_text("mine")
    code, _, err = ended("compress", digits_run, drawings, "-o", kept)
    assert code == 2 and "is there already" in err and kept.read_text() == "mine"
    assert ended("compress", digits_run, drawings, "-o", kept, "--force")[0] == 0
    code, _, err = ended("compress", digits_run, drawings, "-o", tmp_path)
    assert code == 2 and "is a folder: give the name of a file" in err
    (tmp_path / "back.npz").write_text("mine")
    code, _, err = ended("decompress", digits_run, compressed[0], "-o", tmp_path / "back.npz")
    assert code == 2 and "is there already" in err


@pytest.mark.slow
def test_labels_of_a_conditional_model_come_back(conditional_run, tmp_path, ended):
    code, out, err = ended("compress", conditional_run, "-o", tmp_path / "x.kvae")
    assert code == 0, err
    assert "bytes of conditions" in out
    code, _, err = ended("decompress", conditional_run, tmp_path / "x.kvae", "-o", tmp_path / "x.npz")
    assert code == 0, err
    test = data.load("digits", labels=True, binarize="threshold")[1]
    x, y = (np.concatenate(parts) for parts in zip(*test.as_numpy_iterator(), strict=True))
    found = np.load(tmp_path / "x.npz")
    np.testing.assert_array_equal(found["images"], x)
    np.testing.assert_array_equal(found["labels"], y)


def test_models_of_densities_are_refused_in_a_line(labelled_run, tmp_path, ended):
    code, _, err = ended("compress", labelled_run, labelled_run.parent / "pictures", "-o", tmp_path / "x.kvae")
    assert code == 1 and "Normal gives densities, and only probabilities have a code" in err
    assert not (tmp_path / "x.kvae").exists()


@pytest.mark.slow
def test_another_process_gives_the_same_pictures(digits_run, compressed, tmp_path):
    path, x = compressed
    script = "from keras_vae_cli.main import main; main()"
    command = [sys.executable, "-c", script, "decompress", str(digits_run), str(path), "-o", str(tmp_path / "x.npy")]
    subprocess.run(command, check=True, capture_output=True)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), x)


def test_without_the_coder_a_line_says_how_to_install_it(digits_run, tmp_path, ended, monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    code, _, err = ended("compress", digits_run, "-o", tmp_path / "x.kvae")
    assert code == 1 and "pip install 'keras-vae[compress]'" in err
