"""One-hot latents, alone and beside continuous ones."""

import math

import keras
import numpy as np
import pytest
import scipy
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors, priors
from keras_vae.distributions.joint import Joint
from keras_vae.distributions.one_hot import OneHot
from keras_vae.export.draw import draw
from keras_vae.schedules import Linear
from keras_vae.terms import Terms, latent_groups

LOGITS = np.array([[0.3, -1.0, 1.2, 0.0], [2.0, 2.0, -3.0, 0.5]], "float32")
PI = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


def test_exact_draws_are_one_hots_with_the_right_frequencies():
    z = OneHot(LOGITS).sample(4000, seed=[0, 1]).numpy()
    assert set(np.unique(z)) == {0.0, 1.0} and np.all(z.sum(axis=-1) == 1)
    for counts, pi in zip(z.sum(axis=0), PI, strict=True):
        assert scipy.stats.chisquare(counts, 4000 * pi).pvalue > 1e-3


def test_the_kl_to_a_uniform_categorical_has_its_closed_form():
    q, p = OneHot(LOGITS), priors.UniformOneHot(4).distribution()
    expected = math.log(4) + np.sum(PI * np.log(PI), axis=1)
    np.testing.assert_allclose(tfd.kl_divergence(q, p), expected, rtol=1e-5)
    reference = tfd.OneHotCategorical(LOGITS), tfd.OneHotCategorical(tf.zeros(4))
    np.testing.assert_allclose(tfd.kl_divergence(*reference), expected, rtol=1e-5)
    np.testing.assert_allclose(q.entropy(), reference[0].entropy(), rtol=1e-5)
    corners = np.eye(4, dtype="float32")[:, None]
    np.testing.assert_allclose(q.log_prob(corners), np.log(PI).T, rtol=1e-5)
    certain = OneHot.certain(tf.eye(4)[:2])
    np.testing.assert_allclose(tfd.kl_divergence(certain, p), [math.log(4)] * 2, rtol=1e-6)
    np.testing.assert_array_equal(certain.mean(), np.eye(4)[:2])


def test_relaxed_draws_are_those_of_tfp_and_become_discrete_as_the_temperature_falls():
    for temperature in (1.0, 0.3):
        ours = OneHot(LOGITS[0], temperature).sample(4000, seed=[3, 4]).numpy()
        theirs = tfd.RelaxedOneHotCategorical(temperature, LOGITS[0]).sample(4000, seed=[5, 6]).numpy()
        np.testing.assert_allclose(np.sort(ours[:, 0])[::400], np.sort(theirs[:, 0])[::400], atol=0.04)
    cold = OneHot(LOGITS, 1e-3).sample(100, seed=[3, 4]).numpy()
    np.testing.assert_array_equal(cold.argmax(-1), OneHot(LOGITS).sample(100, seed=[3, 4]).numpy().argmax(-1))
    assert cold.max(axis=-1).mean() > 0.99


def test_straight_through_draws_are_one_hots_with_the_gradient_of_relaxed_ones():
    weights = tf.constant([1.0, -2.0, 0.5, 3.0])
    gradients = []
    for straight_through in (False, True):
        logits = tf.constant(LOGITS)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            z = OneHot(logits, 0.7, straight_through).sample(3, seed=[0, 1])
            value = tf.reduce_sum(z * weights)
        gradients.append(tape.gradient(value, logits))
    assert set(np.unique(np.round(z, 5))) == {0.0, 1.0}
    np.testing.assert_allclose(*gradients, rtol=1e-5)
    assert np.abs(gradients[0]).max() > 0.01


def test_the_exported_draw_has_the_right_frequencies():
    seeds = np.stack([np.arange(3000), np.zeros(3000)], axis=1).astype("int32")
    counts = draw(OneHot(LOGITS[0]), tf.constant(seeds)).numpy().sum(axis=0)
    assert scipy.stats.chisquare(counts, 3000 * PI[0]).pvalue > 1e-3
    p = priors.JointPrior(priors.StandardNormal(2), priors.UniformOneHot(3)).distribution()
    z = draw(p, tf.constant(seeds)).numpy()
    assert z.shape == (3000, 5) and np.all(z[:, 2:].sum(axis=1) == 1)
    np.testing.assert_allclose(z[:, :2].std(axis=0), 1.0, atol=0.06)


def test_blocks_side_by_side_add_up():
    normal = tfd.MultivariateNormalDiag([[0.0, 1.0], [2.0, -1.0]], [[1.0, 2.0], [0.5, 1.0]])
    q = Joint([normal, OneHot(LOGITS)])
    p = priors.JointPrior(priors.StandardNormal(2), priors.UniformOneHot(4)).distribution()
    assert (q.batch_shape, q.event_shape, p.batch_shape) == ([2], [6], [])
    z, log_q = q.experimental_sample_and_log_prob(5, seed=[0, 1])
    np.testing.assert_allclose(q.log_prob(z), log_q, rtol=1e-5)
    np.testing.assert_allclose(log_q, normal.log_prob(z[..., :2]) + OneHot(LOGITS).log_prob(z[..., 2:]), rtol=1e-5)
    np.testing.assert_allclose(q.mean()[:, 2:], PI, rtol=1e-5)
    groups = latent_groups(q, p, z, log_q, densities=(True, True))
    assert [group.z.shape[-1] for group in groups] == [2, 4]
    assert all(group.kl_is_exact for group in groups)
    np.testing.assert_allclose(tf.add_n([g.log_q for g in groups]), log_q, rtol=1e-5)
    np.testing.assert_allclose(tf.add_n([g.log_p for g in groups]), p.log_prob(z), rtol=1e-5)


def joint_vae(objective=None, temperature=0.5, num_classes=3):
    return kv.VAE(
        kv.Encoder(
            networks.mlp([32]),
            posteriors.JointPosterior(
                posteriors.MultivariateNormalDiag(2), posteriors.RelaxedOneHot(num_classes, temperature)
            ),
        ),
        kv.Decoder(networks.mlp([32]), likelihoods.Bernoulli((6, 1, 1))),
        priors.JointPrior(priors.StandardNormal(2), priors.UniformOneHot(num_classes)),
        objective,
        seed=0,
    )


def test_draws_are_relaxed_in_training_only_and_follow_the_schedule():
    vae = joint_vae(temperature=Linear(10, 1.0, 0.05))
    x = np.random.default_rng(0).integers(0, 2, (64, 6, 1, 1)).astype("float32")

    def spread():
        code = vae.infer(x, seed=0, training=True).groups[1].z
        return float(tf.reduce_mean(tf.reduce_max(code, axis=-1)))

    warm = spread()
    vae.step.assign(10)
    assert warm < spread() - 0.1 and spread() > 0.95
    exact = vae.infer(x, seed=0).groups[1].z
    assert set(np.unique(exact)) == {0.0, 1.0}
    z = vae.encoder.posterior.point(vae.encode(x))
    np.testing.assert_array_equal(z[:, 2:], vae.encode(x).parts[1].mode())
    np.testing.assert_allclose(vae.decode(z).mean(), vae.reconstruct(x), atol=1e-6)
    assert vae.generate(4, seed=0).z.shape == (4, 5)
    # The counter stays the model's own: encoders have the weights of their layers.
    assert not any("step" in weight.path for weight in vae.encoder.weights)


def exact_log_prob(vae, x):
    """log p(x) by the sum over codes and a grid of z."""
    grid = np.linspace(-5, 5, 81)
    z = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    log_p = -0.5 * np.sum(z**2, axis=1) - math.log(2 * math.pi) + 2 * math.log(grid[1] - grid[0])
    total = []
    for code in np.eye(3):
        full = np.concatenate([z, np.tile(code, (len(z), 1))], axis=1).astype("float32")
        likelihood = vae.decode(full)
        total.append([log_p - math.log(3) + likelihood.log_prob(row).numpy() for row in x])
    return tf.reduce_logsumexp(np.concatenate(total, axis=1), axis=1).numpy()


def test_the_reported_elbo_is_a_bound_on_the_discrete_model_and_log_prob_finds_it():
    patterns = np.repeat(np.eye(3, dtype="float32"), 2, axis=1)[:, :, None, None]
    x = np.tile(patterns, (40, 1, 1, 1))
    vae = joint_vae()
    vae.compile(keras.optimizers.Adam(1e-2))
    vae.fit(x, batch_size=60, epochs=60, verbose=0)
    exact = exact_log_prob(vae, patterns)
    np.testing.assert_allclose(vae.log_prob(patterns, num_samples=2000), exact, atol=0.1)
    elbo = vae.evaluate(x, return_dict=True, verbose=0)["elbo"]
    assert exact.mean() - 2.0 < elbo < exact.mean() + 0.05
    # Three patterns: the best that any model can do is log 1/3.
    assert exact.mean() < math.log(1 / 3) + 1e-3


def test_joint_capacity_holds_either_kl_at_its_own(tmp_path):
    objective = objectives.JointCapacity(1.0, 5.0, kl_weight=10.0)
    vae = joint_vae(objective)
    x = np.random.default_rng(0).integers(0, 2, (32, 6, 1, 1)).astype("float32")
    terms = vae.infer(x, seed=0, training=True)
    loss, extra = objective(terms, tf.constant(0, tf.int64))
    z, d = (float(tf.reduce_mean(group.kl)) for group in terms.groups)
    # KL_d = I(x; d) + KL(q(d) || p(d)), the latter log S - H(q(d)) of the mean of the batch.
    pi = scipy.special.softmax(terms.groups[1].q.logits.numpy().astype("float64"), axis=-1)
    marginal = math.log(3) - scipy.stats.entropy(pi.mean(axis=0))
    information = scipy.stats.entropy(pi.mean(axis=0)) - scipy.stats.entropy(pi, axis=-1).mean()
    distance = abs(z - 1.0) + abs(information - math.log(3)) + marginal
    assert float(loss) == pytest.approx(10 * distance - float(tf.reduce_mean(terms.log_likelihood)), rel=1e-5)
    assert (float(extra["kl_continuous"]), float(extra["kl_discrete"])) == pytest.approx((z, d))
    assert float(extra["information_discrete"]) == pytest.approx(information, abs=1e-6)
    assert d == pytest.approx(information + marginal, abs=1e-6)
    vae.compile(keras.optimizers.Adam(1e-3))
    assert {"kl_continuous", "kl_discrete"} <= set(vae.fit(x, verbose=0).history)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.sample(3, seed=1), vae.sample(3, seed=1))
    with pytest.raises(ValueError, match="two groups of latents"):
        objective(Terms(terms.log_likelihood, terms.groups[:1], terms.likelihood), tf.constant(0))
    with pytest.raises(ValueError, match="no classes"):
        objective(Terms(terms.log_likelihood, terms.groups[::-1], terms.likelihood), tf.constant(0))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_constant_code_does_not_fulfil_the_capacity_of_a_joint_model(weighted):
    """Its KL is log S like that of a code that says all it can, which had been enough."""
    objective = objectives.JointCapacity(0.0, 2.0, kl_weight=10.0)
    weight = tf.constant([1.0, 1.0, 1.0, 3.0]) if weighted else None
    p, nothing = OneHot(tf.zeros(4)), tf.zeros([1, 4])
    z = tfd.MultivariateNormalDiag(tf.zeros([4, 2]), tf.ones([4, 2]))
    found = {}
    for name, classes in {"constant": [2, 2, 2, 2], "informative": [0, 1, 2, 3]}.items():
        code = tf.one_hot([classes], 4)
        groups = latent_groups(
            Joint([z, OneHot.certain(code[0])]),
            Joint([tfd.MultivariateNormalDiag(tf.zeros(2), tf.ones(2)), p]),
            tf.concat([tf.zeros([1, 4, 2]), code], axis=-1),
            densities=(True, True),
        )
        terms = Terms(nothing, groups, None, sample_weight=weight)
        found[name], numbers = objective(terms, tf.constant(0))
        assert float(numbers["kl_discrete"]) == pytest.approx(math.log(4))
    shares = np.array([1, 1, 1, 3]) / 6 if weighted else np.full(4, 0.25)
    # C_d = log 4, not 2; a code that is certain says H(q(d)).
    lacking = math.log(4) - scipy.stats.entropy(shares)
    assert float(found["informative"]) == pytest.approx(10 * 2 * lacking, abs=1e-4)
    assert float(found["constant"]) == pytest.approx(10 * 2 * math.log(4), rel=1e-4)


def test_what_cannot_be_is_refused():
    encoder = kv.Encoder(networks.mlp([8]), posteriors.RelaxedOneHot(3))
    decoder = kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((6, 1, 1)))
    with pytest.raises(ValueError, match=r"a one-hot of 3, and the prior's is 3 continuous dimensions"):
        kv.VAE(encoder, decoder, priors.StandardNormal(3))
    with pytest.raises(ValueError, match="no closed form"):
        kv.VAE(encoder, decoder, priors.UniformOneHot(3), objectives.DIP())
    for make in (lambda: posteriors.RelaxedOneHot(1), lambda: priors.UniformOneHot(2.0)):
        with pytest.raises(ValueError, match="num_classes must be"):
            make()
    with pytest.raises(ValueError, match="temperature must be"):
        posteriors.RelaxedOneHot(3, temperature=0.0)
    assert isinstance(kv.VAE(encoder, decoder, priors.UniformOneHot(3)).objective, objectives.ELBO)
