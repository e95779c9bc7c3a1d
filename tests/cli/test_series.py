"""Series from the command line: learned, looked at, drawn, and their gaps filled."""

import numpy as np
import pytest

from keras_vae import data, load

pytestmark = pytest.mark.usefixtures("own_cache")
T = np.linspace(0.0, 1.0, 13)


@pytest.fixture(scope="module")
def sensors(tmp_path_factory):
    """Forty windows of two sensors in units of their own, some with a gap."""
    random = np.random.default_rng(0)
    phase = random.uniform(0.0, 6.0, (40, 1))
    x = np.stack([20.0 + 3.0 * np.sin(6.0 * T + phase), -5.0 + np.cos(6.0 * T + phase)], axis=-1)
    x[::4, 5:8, 0] = np.nan
    path = tmp_path_factory.mktemp("sensors") / "windows.npy"
    np.save(path, x)
    return path


@pytest.mark.slow
def test_windows_of_sensors_with_gaps(sensors, tmp_path, ended):
    run, small = tmp_path / "run", ["train.epochs=1", "model.latent_dim=2", "data.batch_size=10", "export.formats=[]"]
    small += ["model.encoder={name: conv, filters: [4, 4]}", "model.decoder={name: conv, filters: [4, 4]}"]
    small += ["data.name=null", f"data.path={sensors}"]
    code, _, err = ended("train", "digits", "--run", run, "--set", *small, "model.prior=StandardNormal")
    assert code != 0 and "data.missing" in err
    small += ["model.prior=StandardNormal", "data.missing=true"]
    code, _, err = ended("train", "digits", "--run", run, "--set", *small)
    assert code != 0 and "data.series" in err
    code, out, err = ended("train", "digits", "--run", run, "--set", *small, "data.series=true")
    assert code == 0, err
    assert "of shape 13x2" in out and "-o drawn.npz" in out
    assert (run / "pictures" / "imputations.png").is_file() and "imputations" in (run / "index.html").read_text()
    vae = load(run / "vae.keras")
    assert vae.missing and vae.decoder.event_shape == (13, 2)
    for command in (("evaluate", run, "--num-samples", 20), ("plot", run), ("impute", run, "-o", tmp_path / "i.png")):
        code, _, err = ended(*command)
        assert code == 0, err
    x = np.load(sensors).astype("float32")
    code, out, err = ended("impute", run, sensors, "-o", tmp_path / "filled.npz", "-n", 3)
    assert code == 0, err
    assert "30 missing values" in out
    with np.load(tmp_path / "filled.npz") as found:
        assert found["imputations"].shape == (40, 3, 13, 2)
        np.testing.assert_array_equal(found["x"][~np.isnan(x)], x[~np.isnan(x)])
    code, _, err = ended("sample", run, "-n", 5, "-o", tmp_path / "drawn.npy", "--seed", 3)
    assert code == 0, err
    np.testing.assert_allclose(np.load(tmp_path / "drawn.npy"), vae.sample(5, seed=3), rtol=1e-5)
    assert data.read_all(tmp_path / "drawn.npy", series=True).event_shape == (13, 2)
    code, _, err = ended("sample", run, "-n", 5, "-o", tmp_path / "drawn.csv", "--seed", 3)
    assert code == 0, err
    # A row of numbers for each series, which is one again for a model of series.
    made = []
    for source in ("drawn.npy", "drawn.csv"):
        code, _, err = ended("reconstruct", run, tmp_path / source, "-o", tmp_path / f"of_{source}.npy")
        assert code == 0, err
        made.append(np.load(tmp_path / f"of_{source}.npy"))
    np.testing.assert_allclose(*made, rtol=1e-4)
    code, _, err = ended("encode", run, sensors, "-o", tmp_path / "codes.npz")
    assert code == 0, err
    for suffix in (".png", ""):
        code, out, err = ended("sample", run, "-n", 4, "-o", tmp_path / f"some{suffix}")
        assert (code == 0) == bool(suffix) and (suffix or "give a file that ends in .npz" in err)
    np.save(tmp_path / "long.npy", np.zeros((2, 15, 2)))
    code, _, err = ended("reconstruct", run, tmp_path / "long.npy", "-o", tmp_path / "long.npz")
    assert code != 0
    assert "The model is of series of 13 x 2 (steps x channels), and" in err and "holds series of 15 x 2" in err
