"""Parts of the user's own, made of what is public, work wherever the package's do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import keras_vae as kv
from keras_vae import conditions, evaluation, export, likelihoods, networks, objectives, pictures, posteriors, priors

tfd = tfp.distributions
SHAPE, L, N = (8, 8, 1), 3, 48


@kv.register
class LaplacePosterior(posteriors.Posterior):
    """A density on the whole line that the package has not."""

    @property
    def params_size(self):
        return 2 * self.latent_dim

    def distribution(self, params):
        loc, raw_scale = tf.split(params, 2, axis=-1)
        return tfd.Independent(tfd.Laplace(loc, posteriors.positive(raw_scale)), 1)


@kv.register
class Point(posteriors.Posterior):
    """A point mass that is not the package's."""

    has_density, is_certain, has_marginals = False, True, False

    @property
    def params_size(self):
        return self.latent_dim

    def distribution(self, params):
        return tfd.Independent(tfd.Deterministic(params), 1)


class Indexed(tfd.VectorDeterministic):
    """A point mass at codes, which knows which."""

    def __init__(self, loc, indices):
        super().__init__(loc)
        self.indices = indices


@kv.register
class Ternary(posteriors.Posterior):
    """Each latent is rounded to -1, 0 or 1: a codebook that nobody learns."""

    has_density, is_certain, has_marginals, num_codes = False, True, False, 3

    @property
    def indices_shape(self):
        return (self.latent_dim,)

    @property
    def codebook(self):
        return tf.constant([[-1.0], [0.0], [1.0]])

    @property
    def params_size(self):
        return self.latent_dim

    def lookup(self, indices):
        return tf.cast(tf.clip_by_value(indices, 0, 2), tf.float32) - 1.0

    def distribution(self, params):
        soft = tf.tanh(params)
        indices = tf.cast(tf.round(soft), tf.int32) + 1
        return Indexed(soft + tf.stop_gradient(self.lookup(indices) - soft), indices)


@kv.register
class LaplacePrior(priors.Prior):
    def distribution(self, encoder=None, condition=None):
        return tfd.Independent(tfd.Laplace(tf.zeros(self.latent_dim), 1.0), 1)


@kv.register
class MeanOfData(priors.Prior):
    """Made of the encoder, like VampPrior, with one example that it keeps."""

    uses_encoder, num_examples = True, 1

    def build(self, input_shape):
        if not self.built:
            self.example = self.add_weight(name="example", shape=(1, *input_shape[1:]), trainable=False)

    def adapt(self, data):
        self.example.assign(data.examples[:1])

    def distribution(self, encoder=None, condition=None):
        q = encoder(tf.convert_to_tensor(self.example))
        return tfd.Independent(tfd.Laplace(q.mean()[0], 2.0), 1)


@kv.register
class LaplaceLikelihood(likelihoods.Likelihood):
    params_per_value = 2

    def distribution(self, loc, raw_scale):
        return tfd.Independent(tfd.Laplace(loc, posteriors.positive(raw_scale)), len(self.event_shape))


@kv.register
class Tanh(networks.Network):
    """A recipe with layers of its own."""

    activation = "tanh"

    def __init__(self, units):
        self.units = units

    def encoder_body(self, event_shape, dtype):
        return keras.Sequential(
            [keras.layers.Flatten(dtype=dtype), keras.layers.Dense(self.units, "tanh", dtype=dtype)]
        )

    def decoder_body(self, params_shape, dtype):
        return keras.Sequential([keras.layers.Dense(self.units, "tanh", dtype=dtype)])


@kv.register
class Angle(conditions.Condition):
    """A number that comes round: a condition that is neither a label nor a vector of the package."""

    def __init__(self, period):
        self.period = period

    @property
    def features_shape(self):
        return (2,)

    def features(self, values):
        phase = tf.cast(values, tf.float32) * (2.0 * np.pi / self.period)
        return tf.stack([tf.sin(phase), tf.cos(phase)], axis=-1)


@kv.register
class HalfSharp(kv.Decoder):
    """A decoder that does something to z."""

    def call(self, z, condition=None, training=None):
        return super().call(0.5 * z, condition=condition, training=training)


@kv.register
class Squared(objectives.Objective):
    """The ELBO with the square of its KL beside it."""

    metric_names = ("kl_squared",)

    def __call__(self, terms, step):
        squared = terms.mean(terms.kl**2)
        return -terms.mean(terms.elbo) + 1e-3 * squared, {"kl_squared": squared}


def make(posterior=None, prior=None, condition=None, objective=None, decoder=HalfSharp):
    return kv.VAE(
        kv.Encoder(Tanh(16), posterior or LaplacePosterior(L), condition),
        decoder(Tanh(16), LaplaceLikelihood(SHAPE), condition),
        prior or LaplacePrior(L),
        objective or Squared(),
        seed=0,
    )


MODELS = {
    "laplace": lambda: make(),
    "prior_of_the_encoder": lambda: make(prior=MeanOfData(L)),
    "condition": lambda: make(condition=Angle(4.0)),
    "beside_a_one_hot": lambda: make(
        posteriors.JointPosterior(LaplacePosterior(L), posteriors.RelaxedOneHot(2)),
        priors.JointPrior(LaplacePrior(L), priors.UniformOneHot(2)),
    ),
    "point": lambda: make(Point(L), objective=objectives.Reconstruction()),
    "codebook": lambda: make(Ternary(L), objective=objectives.Reconstruction()),
}
ROWS = [(name, "float32") for name in MODELS] + [("laplace", "mixed_float16"), ("laplace", "mixed_bfloat16")]


@pytest.mark.parametrize("name, precision", ROWS)
def test_own_parts_pass_the_whole_battery(name, precision, digits, tmp_path):
    keras.config.set_dtype_policy(precision)
    vae = MODELS[name]()
    x = digits[:N].astype("float32")
    c = None if vae.condition is None else np.arange(N, dtype="float32") % 4
    data = x if c is None else {"image": x, "condition": c}
    given = {} if c is None else {"condition": c}

    vae.compile(keras.optimizers.Adam(1e-2))
    history = vae.fit(data, validation_data=data, batch_size=16, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] and np.isfinite(history["val_elbo"]).all()

    vae.save(tmp_path / "vae.keras")
    for load in (keras.saving.load_model, kv.load):
        loaded = load(tmp_path / "vae.keras")
        np.testing.assert_array_equal(loaded.reconstruct(x, **given), vae.reconstruct(x, **given))

    has_density = vae.encoder.posterior.has_density
    report = evaluation.evaluate(vae, data, num_samples=5, verbose=False)
    assert (report["test"]["log_likelihood"] is not None) == has_density
    if has_density:
        assert np.isfinite(vae.log_prob(x[:4], 5, **{k: v[:4] for k, v in given.items()})).all()
    else:
        with pytest.raises(ValueError, match="has no density"):
            vae.log_prob(x[:4])

    written = {path.stem for path in pictures.all_pictures(vae, data, directory=tmp_path / "pictures")}
    assert {"samples", "reconstructions", "interpolations"} <= written
    assert ("traversals" in written) == has_density

    if precision == "float32":
        served = export.to_saved_model(vae, tmp_path / "served")
        assert served.ok and not served.left_out
        assert ("decode_indices" in served.errors) == (vae.encoder.posterior.num_codes is not None)
        on_device = export.to_tflite(vae, tmp_path / "vae.tflite")
        assert on_device.ok


def test_own_parts_are_refused_where_those_of_the_package_are():
    with pytest.raises(ValueError, match="A Point posterior has no density"):
        make(Point(L), objective=objectives.ELBO())
    with pytest.raises(ValueError, match="MeanOfData is made of posteriors"):
        make(prior=MeanOfData(L), condition=Angle(4.0))
    with pytest.raises(ValueError, match="none is made of the encoder's"):
        priors.JointPrior(MeanOfData(L), priors.UniformOneHot(2))
    with pytest.raises(ValueError, match="which Point is not"):
        posteriors.Flow(Point(L))
    beside = posteriors.JointPosterior(Point(L), posteriors.RelaxedOneHot(2))
    assert beside.densities == (False, True) and not beside.has_density and not beside.is_certain


def test_networks_of_the_users_own(digits, tmp_path):
    body = keras.Sequential([keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten()])
    head = keras.Sequential([keras.layers.Dense(32, activation="relu"), keras.layers.Dropout(0.1)])
    vae = kv.VAE(
        kv.Encoder(body, posteriors.MultivariateNormalDiag(3)),
        kv.Decoder(head, likelihoods.Bernoulli(SHAPE)),
        priors.StandardNormal(3),
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(digits[:64], epochs=1, verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.reconstruct(digits[:4]), vae.reconstruct(digits[:4]))
    assert len(loaded.trainable_weights) == len(vae.trainable_weights) == 8


def test_a_network_of_keras_applications(tmp_path):
    body = keras.applications.MobileNetV2(input_shape=(32, 32, 3), include_top=False, weights=None, alpha=0.35)
    vae = kv.VAE(
        kv.Encoder(body, posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.conv([8, 8]), likelihoods.Normal((32, 32, 3))),
        priors.StandardNormal(2),
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    x = np.random.default_rng(0).random((16, 32, 32, 3), "float32")
    moving = body.non_trainable_weights[0].numpy()
    vae.fit(x, epochs=1, verbose=0)
    assert not np.array_equal(moving, body.non_trainable_weights[0].numpy())
    vae.save(tmp_path / "vae.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "vae.keras").reconstruct(x), vae.reconstruct(x))


def test_a_hierarchy_of_a_network_of_the_users_own(digits):
    vae = kv.VAE(
        kv.LadderEncoder(Stacked([16, 8]), posteriors.MultivariateNormalDiag(2)),
        kv.LadderDecoder(Stacked([8, 16]), LaplaceLikelihood(SHAPE), latents=2),
        priors.StandardNormal(2),
    )
    vae.compile(keras.optimizers.Adam(1e-2))
    history = vae.fit(digits[:N], epochs=3, verbose=0).history
    assert vae.num_levels == 2 and history["loss"][-1] < history["loss"][0]


@kv.register
class Stacked(networks.Network):
    def __init__(self, units):
        self.units = units

    def encoder_body(self, event_shape, dtype):
        layers = [keras.layers.Dense(n, "tanh", dtype=dtype) for n in self.units]
        return keras.Sequential([keras.layers.Flatten(dtype=dtype), *layers])

    def decoder_body(self, params_shape, dtype):
        return keras.Sequential([keras.layers.Dense(n, "tanh", dtype=dtype) for n in self.units])
