"""Identifiers from the command line: vectors in, digits out."""

import csv
import json

import numpy as np
import pytest

from keras_vae import evaluation, load


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """Two hundred vectors of six numbers, of which two are the same."""
    x = np.random.default_rng(0).normal(size=(200, 6)).astype("float32")
    x[7] = x[3]
    path = tmp_path_factory.mktemp("vectors") / "embeddings.npy"
    np.save(path, x)
    return path


@pytest.mark.slow
def test_vectors_in_and_identifiers_out(vectors, tmp_path, ended, monkeypatch):
    run, small = tmp_path / "run", ["data.name=null", f"data.path={vectors}", "data.batch_size=50", "train.epochs=2"]
    small += ["model.latent_dim=4", "model.posterior.base.num_codes=5", "export.formats=[]"]
    code, _, err = ended("train", "semantic_ids", "--run", run, "--set", *small)
    assert code == 0, err
    code, out, err = ended("ids", run, vectors, "-o", tmp_path / "ids.csv")
    assert code == 0 and "different identifiers of 200 examples" in out, err
    ids = evaluation.semantic_ids(load(run / "vae.keras"), np.load(vectors))
    with (tmp_path / "ids.csv").open(newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["digit_1", "digit_2", "digit_3", "digit_4"]
    np.testing.assert_array_equal(np.array(rows, int), ids.digits)
    np.testing.assert_array_equal(ids.digits[3], ids.digits[7])
    code, out, err = ended("ids", run, vectors, "-o", tmp_path / "ids.npy", "--distinct")
    assert code == 0 and "last digit" in out, err
    np.testing.assert_array_equal(np.load(tmp_path / "ids.npy"), ids.distinct())
    assert len(np.unique(np.load(tmp_path / "ids.npy"), axis=0)) == 200
    code, _, err = ended("ids", run, vectors, "-o", tmp_path / "ids.npy")
    assert code != 0 and "--force" in err
    np.save(tmp_path / "wide.npy", np.zeros((3, 7), "float32"))
    np.save(tmp_path / "gaps.npy", np.full((3, 6), np.nan, "float32"))
    for name, words in (("wide.npy", "vectors of 6 numbers"), ("gaps.npy", "NaN"), ("none.npy", "no file")):
        code, _, err = ended("ids", run, tmp_path / name, "-o", tmp_path / "x.csv")
        assert code != 0 and words in err and not (tmp_path / "x.csv").exists()
    # And back: with the last digit or without it, from a table or an array.
    vae = load(run / "vae.keras")
    expected = np.asarray(vae.decode(vae.encoder.posterior.lookup(ids.digits.reshape(-1, 1, 1, 4))).mean())
    for name in ("ids.csv", "ids.npy"):
        code, out, err = ended("decode", run, tmp_path / name, "-o", tmp_path / f"{name}.back.npy", "--force")
        assert code == 0 and "200 examples of shape 6" in out, err
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.back.npy"), expected, atol=1e-5)
    head = "digit_1,digit_2,digit_3,digit_4\n"
    for text, words in (
        ("digit_1,digit_2\n1,2\n", "has 2 digits to a row, and the identifiers of this model have 4"),
        ("a,b,c,d\n1,2,3,4\n", "the columns must be digit_1, digit_2"),
        (head + "0,0,0,0\n0,5,0,0\n", "digit 2 of identifier 2 is 5, and the 5 codes of this model are 0 to 4"),
        (head + "0,0,0,-1\n", "digit 4 of identifier 1 is -1"),
        (head + "0,0,0\n", "has no whole number for each of the 4 digits"),
        (head + "0,0,0,x\n", "has no whole number"),
        (head, "holds no identifiers"),
    ):
        (tmp_path / "wrong.csv").write_text(text)
        code, _, err = ended("decode", run, tmp_path / "wrong.csv", "-o", tmp_path / "x.npy")
        assert code != 0 and words in err and not (tmp_path / "x.npy").exists(), err
    np.save(tmp_path / "floats.npy", np.zeros((3, 4)))
    code, _, err = ended("decode", run, tmp_path / "floats.npy", "-o", tmp_path / "x.npy")
    assert code != 0 and "must hold whole numbers [N, M], not float64 [3, 4]" in err
    # Too many for memory are written all the same, and not compared.
    with monkeypatch.context() as patch:
        patch.setattr("keras_vae_cli.commands.products.identifiers.IN_MEMORY", 0)
        patch.setattr("keras_vae_cli.commands.products.gathered.IN_MEMORY", 0)
        for name in ("many.csv", "many.npy"):
            code, out, err = ended("ids", run, vectors, "-o", tmp_path / name)
            assert code == 0 and "was not counted" in out and "different identifiers" not in out, err
        assert (tmp_path / "many.csv").read_text() == (tmp_path / "ids.csv").read_text()
        np.testing.assert_array_equal(np.load(tmp_path / "many.npy"), ids.digits)
    code, out, err = ended("evaluate", run, "--num-samples", 5)
    assert code == 0 and "Identifiers: " in out, err
    found = json.loads((run / "report.json").read_text())["test"]["semantic_ids"]
    assert found["num_codes"] == 5 and len(found["entropies_bits"]) == 4


def test_a_model_without_codes_has_none_and_says_which_has(digits_run, tmp_path, ended):
    code, _, err = ended("ids", digits_run, "-o", tmp_path / "ids.csv")
    assert code != 0 and "semantic_ids" in err and not (tmp_path / "ids.csv").exists()
