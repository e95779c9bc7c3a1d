"""A model in a file: it goes on from there, in a fresh process too."""

import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from small_models import compiled, make_vae

from keras_vae import likelihoods, networks, objectives
from keras_vae.schedules import Linear


@pytest.mark.parametrize(
    "network, sizes", [(networks.mlp, (32,)), pytest.param(networks.conv, (4, 8), marks=pytest.mark.slow)]
)
def test_a_saved_model_goes_on_in_a_fresh_process(digits, tmp_path, network, sizes):
    vae = compiled(network=network, sizes=sizes)
    vae.fit(digits[:64], batch_size=32, epochs=1, shuffle=False, verbose=0)
    vae.save(tmp_path / "vae.keras")
    np.save(tmp_path / "x.npy", digits[:64])
    program = """
        import sys, numpy as np, keras, keras_vae
        vae = keras.saving.load_model("vae.keras")
        x = np.load("x.npy")
        np.save("reconstruction.npy", vae.reconstruct(x))
        np.save("sample.npy", vae.sample(3, seed=0))
        assert int(vae.step) == 2 and int(vae.optimizer.iterations) == 2
        vae.fit(x, batch_size=32, epochs=1, shuffle=False, verbose=0)
        np.savez("weights.npz", *vae.get_weights())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_array_equal(np.load(tmp_path / "reconstruction.npy"), vae.reconstruct(digits[:64]))
    np.testing.assert_array_equal(np.load(tmp_path / "sample.npy"), vae.sample(3, seed=0))
    vae.fit(digits[:64], batch_size=32, epochs=1, shuffle=False, verbose=0)
    saved = np.load(tmp_path / "weights.npz")
    for a, name in zip(vae.get_weights(), saved.files, strict=True):
        np.testing.assert_array_equal(a, saved[name])


def test_a_model_that_was_only_called_part_by_part_reloads_with_its_weights(digits, tmp_path):
    vae = make_vae()
    images = np.asarray(vae.decoder(np.zeros((2, 4), "float32")).mean())
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.decoder(np.zeros((2, 4), "float32")).mean(), images)
    np.testing.assert_array_equal(
        keras.saving.load_model(tmp_path / "vae.keras").sample(2, seed=0), vae.sample(2, seed=0)
    )


def test_schedules_and_parts_survive_saving(tmp_path):
    objective = objectives.ELBO(kl_weight=Linear(10), free_bits=0.1)
    likelihood = likelihoods.Normal((5, 7, 2), scale="per_pixel")
    vae = make_vae(networks.conv, (4,), likelihood=likelihood, objective=objective, seed=5)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert loaded.seed == 5
    assert loaded.objective.free_bits == 0.1
    assert loaded.objective.kl_weight.steps == 10
    assert loaded.decoder.likelihood.scale == "per_pixel"
    assert loaded.decoder.event_shape == (5, 7, 2)


def test_the_parts_can_be_taken_from_a_saved_model_in_one_line(tmp_path):
    make_vae().save(tmp_path / "vae.keras")
    decoder = keras.saving.load_model(tmp_path / "vae.keras").decoder
    assert decoder(np.zeros((1, 4), "float32")).mean().shape == (1, 8, 8, 1)


def test_a_model_that_was_compiled_and_never_fitted_is_loaded(tmp_path):
    vae = compiled()
    vae.save(tmp_path / "vae.keras")
    assert keras.saving.load_model(tmp_path / "vae.keras").optimizer.built


@pytest.mark.parametrize("name", ["vae.h5", "vae.hdf5", "vae", "vae.weights.h5", "vae.tf"])
def test_a_vae_is_saved_in_a_keras_file_and_nothing_else(name, tmp_path):
    with pytest.raises(ValueError, match=r"saved in a .keras file, not in .*vae.save_weights\('.*\.weights\.h5'\)"):
        make_vae().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_nothing_but_a_regular_file_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "vae.keras")
    with pytest.raises(FileExistsError, match="no regular file"):
        make_vae().save(tmp_path / "vae.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["vae.keras"]


def test_keras_own_folder_is_written_and_read(tmp_path):
    vae = make_vae()
    vae.save(tmp_path / "vae", zipped=False)
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "vae").sample(2, seed=0), vae.sample(2, seed=0))


@pytest.mark.parametrize(("name", "options"), [("a.weights.h5", {}), ("a.weights.json", {"max_shard_size": 1e-5})])
def test_weights_alone_go_from_one_model_to_another(name, options, tmp_path):
    vae, other = make_vae(), make_vae()
    vae.save_weights(tmp_path / name, **options)
    other.load_weights(tmp_path / name)
    np.testing.assert_array_equal(other.sample(2, seed=0), vae.sample(2, seed=0))
    assert int(other.adapted) == 1
    with pytest.raises(ValueError, match="must end in"):
        vae.save_weights(tmp_path / "a.h5")


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_quantization_in_place_is_refused_with_the_remedy(mode, tmp_path):
    vae = make_vae()
    vae.build()
    for part in (vae, vae.encoder, vae.decoder):
        with pytest.raises(ValueError, match=r"cannot be quantized in place.*to_tflite\(.*int8"):
            part.quantize(mode)
    vae.save(tmp_path / "vae.keras")
    vae.encoder.body.layers[1].quantize(mode)
    with pytest.raises(ValueError, match="is quantized, and a file of it could not be loaded"):
        vae.save(tmp_path / "other.keras")


def test_losses_and_metrics_of_keras_are_not_loaded(tmp_path):
    vae = make_vae()
    vae.build()
    vae.compile_from_config({"optimizer": "adam", "metrics": ["mse"], "loss": "mse"})
    assert vae.loss is None and vae.optimizer.built
