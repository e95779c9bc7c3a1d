"""What `keras-vae train` says at its end."""

from pathlib import Path

import numpy as np
import pytest

import keras_vae as kv
from keras_vae import likelihoods, networks, posteriors, priors
from keras_vae.models.storage import untrusted
from keras_vae_cli.commands.learned import learned

SHAPE = (4, 4, 1)


@pytest.mark.parametrize("likelihood", [likelihoods.Bernoulli(SHAPE), likelihoods.Normal(SHAPE, scale=0.1)])
def test_a_decoder_that_always_says_the_same_does_not_pass_for_real(likelihood):
    encoder = kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(2))
    vae = kv.VAE(encoder, kv.Decoder(networks.mlp([]), likelihood), priors.StandardNormal(2), seed=0)
    vae.build()
    # Rows of one value each, far from independent pixels; the first is white.
    x = np.repeat(np.random.default_rng(0).integers(0, 2, (200, 4, 1, 1)), 4, axis=2).astype("float32")
    x[:, 0] = 1.0
    vae.decoder.set_weights([np.zeros_like(weight) for weight in vae.decoder.get_weights()])
    found = learned(vae, x)
    assert found.samples["accuracy"] > 0.7 and found.latent_dim == 2
    share = f"{found.samples['accuracy']:.0%}"
    assert f"tells drawn from real images in {share} of cases, where 50% is chance" in str(found)


def test_a_plain_autoencoder_has_no_draws():
    encoder = kv.Encoder(networks.mlp([]), posteriors.Deterministic(2))
    decoder = kv.Decoder(networks.mlp([]), likelihoods.Normal(SHAPE, scale=0.1))
    vae = kv.VAE(encoder, decoder, priors.StandardNormal(2), kv.objectives.Reconstruction())
    found = learned(vae, np.random.default_rng(0).random((20, *SHAPE), "float32"))
    assert found.samples is None and str(found) == f"Learned: {found.active_units} of 2 dimensions used."


@pytest.mark.slow
def test_the_end_of_a_training_loads_the_model_once(tmp_path, ended, monkeypatch):
    loaded, load = [], untrusted.load

    def counted(path, **options):
        loaded.append(Path(path).name)
        return load(path, **options)

    monkeypatch.setattr(untrusted, "load", counted)
    small = ["train.epochs=1", "model.latent_dim=2", "data.binarize=threshold", "model.likelihood=Bernoulli"]
    small += ["model.encoder={name: mlp, units: [8]}", "model.decoder={name: mlp, units: [8]}"]
    code, out, _ = ended("train", "digits", "--set", *small, "export.formats=[tflite]", "--run", tmp_path / "run")
    assert code == 0 and "decoder.tflite" in out
    assert loaded == ["vae.keras"]
