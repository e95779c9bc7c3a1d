"""What is frozen stays frozen: in files, copies and configs, for the optimizer too."""

import copy

import keras
import numpy as np
import parts
import pytest
from small_models import make_vae

import keras_vae as kv
from keras_vae import networks, posteriors


def flags(vae):
    """Whether each weight of the parts is trained, and how many are."""
    return [weight.trainable for part in (vae.encoder, vae.decoder, vae.prior) for weight in part.weights]


def through_a_file(load):
    def again(vae, folder):
        vae.save(folder / "vae.keras")
        return load(folder / "vae.keras")

    return again


WAYS = {
    "load_model": through_a_file(keras.saving.load_model),
    "kv.load": through_a_file(kv.load),
    "deepcopy": lambda vae, folder: copy.deepcopy(vae),
    "clone_model": lambda vae, folder: keras.models.clone_model(vae),
    "config": lambda vae, folder: type(vae).from_config(vae.get_config()),
}


def freeze_encoder(vae):
    vae.encoder.trainable = False


def freeze_some_layers(vae):
    vae.encoder.posterior.trainable = False
    vae.decoder.body.layers[-1].trainable = False
    vae.prior.trainable = False


def freeze_all_but_a_layer(vae):
    vae.decoder.trainable = False
    vae.decoder.projection.trainable = True


MODELS = {
    "conv": lambda: make_vae(networks.conv, (4, 8)),
    "factor": lambda: parts.vae(kv.FactorVAE, discriminator_units=(4,)),
    "gan": lambda: parts.vae(kv.VAEGAN, filters=(4,)),
    "ladder": lambda: kv.VAE(
        parts.encoder("ladder_mlp", [8, 4], parts.POSTERIORS["iaf"]()),
        parts.decoder("ladder_mlp", [4, 8], parts.LIKELIHOODS["normal"]()),
        parts.PRIORS["real_nvp"](),
    ),
}


@pytest.mark.parametrize("freeze", [freeze_encoder, freeze_some_layers, freeze_all_but_a_layer])
@pytest.mark.parametrize("model", MODELS)
def test_frozen_layers_stay_frozen(model, freeze, tmp_path):
    vae = MODELS[model]()
    vae.build()
    everything = flags(vae)
    freeze(vae)
    expected = flags(vae)
    assert expected != everything
    vae.compile("adam")
    for name, way in WAYS.items():
        again = way(vae, tmp_path)
        again.build()
        assert flags(again) == expected, name
        assert len(again.trainable_variables) == len(vae.trainable_variables), name


def test_what_is_frozen_before_it_is_built_has_frozen_layers(digits, tmp_path):
    vae = make_vae(networks.conv, (4, 8))
    vae.encoder.trainable = False
    clone = keras.models.clone_model(vae)
    for each in (vae, clone):
        each.build()
        assert len(each.trainable_variables) == len(each.decoder.trainable_variables) > 0
    vae.compile(keras.optimizers.Adam(1e-2))
    before = vae.encoder.get_weights()
    vae.fit(digits[:64], epochs=1, verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert len(loaded.optimizer.variables) == len(vae.optimizer.variables)
    loaded.fit(digits[:64], epochs=1, verbose=0)
    for a, b in zip(before, loaded.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(loaded.decoder.get_weights()[0] != vae.decoder.get_weights()[0])


def test_a_part_alone_and_layers_of_ones_own(tmp_path):
    posterior = posteriors.MultivariateNormalDiag(3)
    posterior.build((None, 4))
    posterior.trainable = False
    again = type(posterior).from_config(posterior.get_config())
    again.build((None, 4))
    assert not again.projection.kernel.trainable
    body = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4), keras.layers.Dense(3, trainable=False)])
    vae = kv.VAE(
        kv.Encoder(body, posteriors.MultivariateNormalDiag(3)),
        kv.Decoder(networks.mlp([4]), parts.LIKELIHOODS["bernoulli"]()),
        parts.PRIORS["standard_normal"](),
    )
    vae.build()
    body.layers[1].trainable = False
    vae.save(tmp_path / "vae.keras")
    assert flags(kv.load(tmp_path / "vae.keras")) == flags(vae)


def test_a_frozen_codebook_does_not_move():
    posterior = posteriors.VectorQuantized(4, grid=(2, 2), num_codes=3)
    features = np.random.default_rng(0).random((8, 8)).astype("float32")
    posterior(features, training=True)
    posterior.trainable = False
    before = np.array(posterior.codebook)
    posterior(features + 1.0, training=True)
    np.testing.assert_array_equal(posterior.codebook, before)
    posterior.trainable = True
    posterior(features + 1.0, training=True)
    assert np.any(np.array(posterior.codebook) != before)


def test_a_config_of_another_tree_is_refused():
    vae = make_vae()
    vae.build()
    vae.encoder.trainable = False
    config = vae.get_config()
    config["frozen"] = {**config["frozen"], "of": 3}
    with pytest.raises(ValueError, match="freezes some of 3 layers"):
        kv.VAE.from_config(config).build()
