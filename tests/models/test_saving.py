"""A model in a file: it goes on from there, in a fresh process too."""

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
