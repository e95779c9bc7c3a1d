"""`data.missing` and `keras-vae impute`, as they are typed."""

import csv

import numpy as np
import pytest
from small_models import make_vae

from keras_vae import likelihoods, load, networks

ROWS = np.random.default_rng(0).normal(size=(60, 3)).round(3)
GAPS = np.random.default_rng(1).random(ROWS.shape) < 0.2


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    with path.open("w", newline="") as stream:
        rows = np.where(GAPS, "", ROWS.astype(str))
        csv.writer(stream).writerows([["a", "b", "c"], *rows])
    return path


def test_a_table_with_gaps_is_learned_and_filled(table, tmp_path, ended):
    run, small = tmp_path / "run", ["train.epochs=1", "model.latent_dim=2", "data.batch_size=10", "export.formats=[]"]
    small += ["model.encoder={name: mlp, units: [8]}", "model.decoder={name: mlp, units: [8]}"]
    small += ["model.prior=StandardNormal", "data.name=null", f"data.path={table}"]
    code, _, err = ended("train", "digits", "--run", run, "--set", *small)
    assert code != 0 and "data.missing" in err
    code, out, err = ended("train", "digits", "--run", run, "--set", *small, "data.missing=true")
    assert code == 0, err
    assert "Learned: " in out
    vae = load(run / "vae.keras")
    assert vae.missing and np.isfinite(vae.decoder.output_layer.bias).all()
    code, out, err = ended("impute", run, table, "-o", tmp_path / "filled.csv", "-n", 7, "--seed", 3)
    assert code == 0, err
    assert f"60 of {table}, {GAPS.sum()} missing values as means of 7 draws." in out
    with (tmp_path / "filled.csv").open(newline="") as stream:
        header, *cells = csv.reader(stream)
    # The user's own table: the names of its columns, and what is there as it was written.
    assert header == ["a", "b", "c"] and (np.array(cells)[~GAPS] == ROWS.astype(str)[~GAPS]).all()
    filled = np.array(cells, "float64")
    drawn = vae.impute(np.where(GAPS, np.nan, ROWS).astype("float32"), 7, seed=3)
    np.testing.assert_allclose(filled, drawn.mean(axis=0), rtol=1e-5, atol=1e-6)
    code, _, err = ended("impute", run, table, "-o", tmp_path / "filled.npz", "-n", 2)
    assert code == 0, err
    with np.load(tmp_path / "filled.npz") as found:
        assert found["imputations"].shape == (60, 2, 3) and found["x"].shape == (60, 3)
        np.testing.assert_array_equal(found["x"][~GAPS], ROWS[~GAPS].astype("float32"))
    code, _, err = ended("impute", run, table, "-o", tmp_path / "filled.csv")
    assert code != 0 and "--force" in err
    code, _, err = ended("evaluate", run, "--num-samples", 20)
    assert code == 0, err
    code, _, err = ended("plot", run)
    assert code == 0, err


def test_holes_in_pictures_are_drawn(tmp_path, ended):
    vae = make_vae(networks.mlp, (8,), (4, 4, 1), 2, likelihoods.Normal((4, 4, 1)), missing=True)
    vae.build()
    vae.save(tmp_path / "vae.keras")
    images = np.full((3, 4, 4, 1), 0.5, "float32")
    images[:, :2] = np.nan
    np.save(tmp_path / "holes.npy", images)
    code, _, err = ended("impute", tmp_path / "vae.keras", tmp_path / "holes.npy", "-o", tmp_path / "some.png")
    assert code == 0, err
    assert (tmp_path / "some.png").stat().st_size > 1000


def test_a_model_of_whole_data_is_refused(digits_run, tmp_path, ended):
    code, _, err = ended("impute", digits_run, "-o", tmp_path / "x.csv")
    assert code != 0 and "knows of no missing values" in err and "data.missing=true" in err
    code, _, err = ended("impute", tmp_path / "none", "-o", tmp_path / "x.csv")
    assert code != 0
    code, _, err = ended("impute", digits_run, "-o", tmp_path / "x.jpg")
    assert code != 0 and "ends in" in err
    assert not list(tmp_path.iterdir())
