"""What the user gives to a model, read as the model knows it."""

import numpy as np
import pytest
from sources import picture

from keras_vae_cli import settings
from keras_vae_cli.commands import build, run_folder
from keras_vae_cli.commands.products.given import read_given
from keras_vae_cli.commands.products.opened import Opened, open_model
from keras_vae_cli.errors import ConfigError


@pytest.fixture(scope="module")
def numbered_model(tmp_path_factory):
    """A model of ten classes without names, as `read_given` takes it."""
    small = ["model.encoder={name: mlp, units: [4]}", "model.decoder={name: mlp, units: [4]}", "model.latent_dim=2"]
    small += ["model.likelihood=Normal", "model.prior=StandardNormal", "data.condition=label"]
    vae = build.make_vae(settings.load(None, small), (8, 8, 1), {"name": "Label", "num_classes": 10})
    return Opened(tmp_path_factory.mktemp("numbered"), vae, None, run_folder.make_console())


def test_the_folders_of_classes_without_names_are_numbers(numbered_model, tmp_path):
    for name in ("7/a.png", "3/b.png"):
        picture(tmp_path / name, mode="L")
    ((_, labels),) = read_given(numbered_model, [str(tmp_path)], None).batches()
    assert labels.tolist() == [3, 7]
    (tmp_path / "7").rename(tmp_path / "cats")
    with pytest.raises(ConfigError, match=r"has the classes 'cats', which are none (.|\n)*by --condition"):
        read_given(numbered_model, [str(tmp_path)], None)


def test_a_file_that_is_no_npy_is_refused_in_words(numbered_model, tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 8, 8), "uint8"))
    packed = (tmp_path / "x.npz").read_bytes()
    for content in (packed, packed[:100], b"no array", b""):
        (tmp_path / "x.npy").write_bytes(content)
        with pytest.raises(ValueError, match="is damaged or no numpy array"):
            read_given(numbered_model, [str(tmp_path / "x.npy")], ["3"])
        (tmp_path / "y.npz").write_bytes(content[:100])
        with pytest.raises(ValueError, match=r"is damaged or no \.npz file"):
            read_given(numbered_model, [str(tmp_path / "y.npz")], ["3"])


def test_the_arrays_of_an_npz_are_read_as_those_of_an_npy(labelled_run, tmp_path):
    opened = open_model(labelled_run)
    # Darker than all that the model has seen, and yet not black and white.
    rows = np.random.default_rng(0).integers(0, 2, (6, 64))
    np.save(tmp_path / "rows.npy", rows)
    np.savez(tmp_path / "rows.npz", x_train=rows[:4], x_test=rows[4:], labels=np.array([None]), notes=np.array([None]))
    np.savez(tmp_path / "images.npz", mine=rows.reshape(6, 8, 8), names=np.array(["a"] * 6))
    for name in ("rows.npy", "rows.npz", "images.npz"):
        ((x, _),) = read_given(opened, [str(tmp_path / name)], ["light"]).batches()
        np.testing.assert_allclose(x, rows.reshape(6, 8, 8, 1) / np.float32(255), atol=1e-7)
    np.savez(tmp_path / "labelled.npz", images=rows, labels=[0, 1, 2, 2, 1, 0])
    ((_, labels),) = read_given(opened, [str(tmp_path / "labelled.npz")], None).batches()
    assert labels.tolist() == [0, 1, 2, 2, 1, 0]
    np.savez(tmp_path / "nothing.npz", a=rows, b=rows)
    with pytest.raises(ValueError, match=r"None of the arrays in .*nothing\.npz' is named as images"):
        read_given(opened, [str(tmp_path / "nothing.npz")], ["light"])
