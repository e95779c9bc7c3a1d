"""A code that does not change within a neighbourhood of x."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, rel_entr

import keras_vae as kv
from keras_vae import disentanglement, likelihoods, networks, objectives, posteriors, priors
from keras_vae.models.ladder import LadderDecoder, LadderEncoder

DIMS = 3


def model(kind=kv.SmoothCodeVAE, units=(), classes=2, detached_steps=0, objective=None, body=None, **options) -> kv.VAE:
    discrete = posteriors.RelaxedOneHot(classes, detached_steps=detached_steps)
    return kind(
        kv.Encoder(
            body or networks.mlp(units), posteriors.JointPosterior(posteriors.MultivariateNormalDiag(1), discrete)
        ),
        kv.Decoder(networks.mlp(units), likelihoods.Normal((DIMS,), scale=0.5)),
        priors.JointPrior(priors.StandardNormal(1), priors.UniformOneHot(classes)),
        objective,
        seed=0,
        **options,
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_of_a_linear_code_the_worst_direction_is_that_of_its_slope(weighted):
    """Of two classes with logits W x: the log-odds move by R |w_1 - w_0|, up or down as the random start leads."""
    radius, x = 0.7, np.random.default_rng(0).normal(size=(4, DIMS)).astype("float32")
    weight = tf.constant([1.0, 2.0, 0.0, 1.0]) if weighted else None
    vae = model(smoothness_weight=0.0, radius=radius)
    vae.build()
    kernel = np.array([[0.3, -1.0], [0.5, 0.2], [-0.4, 0.9]], "float32")
    vae.encoder.posterior.discrete.projection.kernel.assign(kernel)
    found = []
    for smoothness_weight in (0.0, 3.0):
        vae.smoothness_weight = smoothness_weight
        found.append(float(vae.compute_objective(x, None, weight, tf.constant([1, 2]), training=True)[1]))
    slope = kernel[:, 1] - kernel[:, 0]
    odds = x @ slope
    moved = odds + radius * np.linalg.norm(slope) * np.array([[1.0], [-1.0]])
    p, q = np.stack([expit(odds), expit(-odds)]), np.stack([expit(moved), expit(-moved)])
    up, down = rel_entr(p[:, None], q).sum(axis=0)
    either = [up[0], down[0]], [up[1], down[1]], [up[2], down[2]], [up[3], down[3]]
    shares = np.array([1, 2, 0, 1]) / 4 if weighted else np.full(4, 0.25)
    possible = [float(shares @ values) for values in np.stack(np.meshgrid(*either), axis=-1).reshape(-1, 4)]
    assert min(abs((found[1] - found[0]) / 3.0 - value) for value in possible) < 1e-4


def test_of_two_components_the_worst_direction_is_that_of_their_means():
    """Of unit variances and a mean z = w x of q(z|x), log-odds, (m_1 - m_0) z + c, move by R |m_1 - m_0| |w|."""
    radius, x = 0.4, np.random.default_rng(0).normal(size=(4, DIMS)).astype("float32")
    parts = (
        kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(1)),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((DIMS,), scale=0.5)),
        priors.NormalMixture(1, 2),
    )
    vae = kv.SmoothCodeVAE(*parts, seed=0, smoothness_weight=0.0, radius=radius)
    vae.build()
    kernel = np.array([[0.3, -1.0], [0.5, 0.2], [-0.4, 0.9]], "float32")
    vae.encoder.posterior.projection.kernel.assign(kernel)
    vae.prior.loc.assign([[-0.7], [1.1]])
    found = []
    for smoothness_weight in (0.0, 3.0):
        vae.smoothness_weight = smoothness_weight
        with tf.GradientTape() as tape:
            loss = vae.compute_objective(x, None, None, tf.constant([1, 2]), training=True)[1]
        found.append((float(loss), float(tape.gradient(loss, vae.prior.loc.value)[0, 0])))
    slope = kernel[:, 0]
    odds = 1.8 * (x @ slope) - (1.1**2 - 0.7**2) / 2
    moved = odds + 1.8 * radius * np.linalg.norm(slope) * np.array([[1.0], [-1.0]])
    p, q = np.stack([expit(odds), expit(-odds)]), np.stack([expit(moved), expit(-moved)])
    up, down = rel_entr(p[:, None], q).sum(axis=0)
    possible = np.stack(np.meshgrid(*zip(up, down, strict=True)), axis=-1).reshape(-1, 4).mean(axis=-1)
    assert np.abs((found[1][0] - found[0][0]) / 3.0 - possible).min() < 1e-4
    # The components move too.
    assert found[1][1] != found[0][1]


def test_the_worst_direction_does_not_tell_the_code_of_another_view():
    """Of a linear code of noisy views of one x: up and down are alike, whichever side the first view was on."""
    radius, noise, n, weight = 1.0, 1.0, 50_000, 1000.0
    slope = np.array([1.5, -1.2, 1.3])
    vae = model(
        body=keras.Sequential([keras.layers.GaussianNoise(noise, seed=0)]), smoothness_weight=weight, radius=radius
    )
    vae.build()
    vae.encoder.posterior.discrete.projection.kernel.assign(np.stack([-slope, slope], axis=1) / 2.0)
    x, seed = np.zeros((n, DIMS), "float32"), tf.constant([1, 2])
    with_term = vae.compute_objective(x, None, None, seed, training=True)[1]
    without = kv.VAE.compute_objective(vae, x, None, None, seed, training=True)[1]
    random, length = np.random.default_rng(0), np.linalg.norm(slope)
    first, second = random.normal(scale=noise * length, size=(2, n))
    moved = second + random.choice([-1.0, 1.0], size=n) * radius * length
    p, q = np.stack([expit(first), expit(-first)]), np.stack([expit(moved), expit(-moved)])
    # Beside such a weight the rest of the loss, of other noise in either, is nothing.
    np.testing.assert_allclose(float(with_term - without) / weight, rel_entr(p, q).sum(axis=0).mean(), rtol=0.05)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_finds_what_lies_apart(seed):
    """Two stripes, longer than they lie apart: to cut them across says as much."""
    random = np.random.default_rng(seed)
    y = random.integers(2, size=600)
    x = np.stack([random.uniform(-1.5, 1.5, 600), 2.0 * y - 1.0, np.zeros(600)], axis=1)
    x = (x + random.normal(scale=0.1, size=x.shape)).astype("float32")
    keras.utils.set_random_seed(seed)
    vae = model(
        units=[32],
        detached_steps=400,
        objective=objectives.JointCapacity(0.0, 1.0, kl_weight=3.0),
        smoothness_weight=10.0,
        radius=0.8,
    )
    vae.compile(keras.optimizers.Adam(5e-3))
    vae.fit(x, batch_size=100, epochs=60, verbose=0)
    code = np.asarray(vae.encoder.posterior.point(vae.encode(x)))[:, 1:].argmax(axis=1)
    assert disentanglement.unsupervised_accuracy(code, y) > 0.95


def test_a_detached_code_has_no_gradient_from_the_likelihood():
    x = np.random.default_rng(0).normal(size=(4, DIMS)).astype("float32")
    vae = model(kv.VAE, detached_steps=2)
    vae.build()
    kernel = vae.encoder.posterior.discrete.projection.kernel
    draws, gradients = [], []
    for step in (0, 1, 2):
        vae.step.assign(step)
        with tf.GradientTape() as tape:
            terms = vae.infer(x, seed=0, training=True)
            value = tf.reduce_mean(terms.log_likelihood)
        draws.append(terms.groups[1].z)
        gradients.append(float(tf.norm(tape.gradient(value, kernel.value))))
    assert gradients[0] == gradients[1] == 0.0 < gradients[2]
    np.testing.assert_array_equal(draws[0], draws[2])


def test_what_has_no_code_is_refused():
    parts = (
        kv.Encoder(networks.mlp([4]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([4]), likelihoods.Normal((DIMS,))),
        priors.StandardNormal(2),
    )
    with pytest.raises(ValueError, match=r"discrete code.*RelaxedOneHot.*NormalMixture\(2, 10\)"):
        kv.SmoothCodeVAE(*parts)
    ladder = (
        LadderEncoder(networks.mlp([4, 4]), posteriors.RelaxedOneHot(2)),
        LadderDecoder(networks.mlp([4, 4]), likelihoods.Normal((DIMS,)), latents=2),
        priors.UniformOneHot(2),
    )
    with pytest.raises(ValueError, match="one level"):
        kv.SmoothCodeVAE(*ladder)
    with pytest.raises(ValueError, match="radius"):
        model(radius=0.0)
    with pytest.raises(ValueError, match="smoothness_weight"):
        model(smoothness_weight=-1.0)
