"""Codes of every kind, against enumerations, formulas by hand and automatic differentiation."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors, priors
from keras_vae.distributions.codes import Levels
from keras_vae.posteriors.codes.vector_quantized import LARGEST_RATIO, rotated, unit
from keras_vae.posteriors.codes.whitening import Whitening, inverse_root

RNG = np.random.default_rng(0)
GRID = (1, 2)
X = (RNG.random((64, 8, 8, 1)) > np.linspace(0.1, 0.9, 8)[:, None]).astype("float32")


def table(dim=2, codes=3, **options):
    return posteriors.VectorQuantized(GRID[0] * GRID[1] * dim, GRID, codes, **options)


KINDS = {
    "averages": table,
    "gradient": lambda: table(learned_by="gradient", start="kmeans"),
    "cosine": lambda: table(cosine=True, through="rotation"),
    "levels": lambda: posteriors.FiniteScalar([2, 3], GRID),
    "signs": lambda: posteriors.LookupFree(2, GRID),
    "signs_off_the_sphere": lambda: posteriors.LookupFree(2, GRID, spherical=False, whiten=False),
    "residual": lambda: posteriors.Residual(table(), 2, dropout=0.5),
    "residual_levels": lambda: posteriors.Residual(posteriors.FiniteScalar([3], GRID), 3),
    "residual_signs": lambda: posteriors.Residual(posteriors.LookupFree(1, GRID), 2),
    "grouped": lambda: posteriors.Grouped(table(), 2),
    "grouped_residual": lambda: posteriors.Grouped(posteriors.Residual(posteriors.FiniteScalar([3], GRID), 2), 2),
    "residual_grouped": lambda: posteriors.Residual(posteriors.Grouped(posteriors.FiniteScalar([2], GRID), 2), 2),
}

# The others take seconds, too.
EVERYDAY = ("averages", "residual_signs")
MARKED = [pytest.param(kind, marks=() if kind in EVERYDAY else pytest.mark.slow) for kind in KINDS]


def test_a_single_bit_is_not_on_a_sphere_where_it_had_no_gradient():
    posterior = posteriors.LookupFree(1, GRID)
    features = tf.Variable(np.random.default_rng(0).normal(size=(32, 4)).astype("float32"))
    with tf.GradientTape() as tape:
        z = posterior(features, training=True).sample()
        loss = tf.reduce_sum(z * [1.0, -2.0])
    assert np.abs(tape.gradient(loss, features)).max() > 1e-3


def vae_of(posterior, prior=None, objective=None, seed=0):
    keras.utils.set_random_seed(0)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([16]), posterior),
        kv.Decoder(networks.mlp([16]), likelihoods.Bernoulli((8, 8, 1))),
        prior or priors.UniformCodes.of(posterior),
        objective or objectives.CommittedELBO(),
        seed=seed,
    )
    vae.compile(keras.optimizers.Adam(3e-3))
    return vae


@pytest.mark.parametrize("kind", MARKED)
def test_every_kind_has_the_same_surface(kind, tmp_path):
    posterior = KINDS[kind]()
    vae = vae_of(posterior)
    history = vae.fit(X, validation_data=(X, None), batch_size=16, epochs=2, verbose=0).history
    q = vae.encode(X[:5])
    depth = posterior.depth
    tail = posterior.indices_shape[2:]
    assert tuple(q.indices.shape) == (5, 2, *tail) and q.indices.dtype == tf.int32 and tail in ((), (depth,))
    assert np.asarray(q.indices).min() >= 0 and np.asarray(q.indices).max() < posterior.num_codes
    # Indices name the vectors, as a grid or as a row of places.
    for indices in (q.indices, tf.reshape(q.indices, [5, *posterior.indices_shape])):
        np.testing.assert_allclose(posterior.lookup(indices), q.mean(), atol=1e-6)
    assert not np.any(q.log_prob(q.mean())) and q.mean().shape == (5, vae.prior.latent_dim)
    np.testing.assert_allclose(vae.decode(q.mean()).mean(), vae.reconstruct(X[:5]), atol=1e-6)
    # What is logged is of all data: the share of codes that they use, and exp of the entropy.
    counts = [
        np.bincount(column, minlength=posterior.num_codes)
        for column in np.asarray(vae.encode(X).indices).reshape(-1, depth).T
    ]
    shares = [count[count > 0] / count.sum() for count in counts]
    entropies = [-np.sum(share * np.log(share)) for share in shares]
    assert history["val_usage"][-1] == pytest.approx(np.mean(np.concatenate(counts) > 0), abs=1e-6)
    assert history["val_perplexity"][-1] == pytest.approx(math.exp(np.mean(entropies)), rel=1e-4)
    if depth > 1:
        assert history[f"val_usage_{depth}"][-1] == pytest.approx(np.mean(counts[-1] > 0), abs=1e-6)
        assert history["val_perplexity_1"][-1] == pytest.approx(math.exp(entropies[0]), rel=1e-4)
    # KL(q || p) of certain codes is -log p(k), and no number of samples changes the bound.
    assert history["val_kl"][-1] == pytest.approx(2 * depth * math.log(posterior.num_codes), rel=1e-5)
    np.testing.assert_allclose(vae.log_prob(X[:3], num_samples=5), vae.infer(X[:3], seed=0).elbo, rtol=1e-5)
    assert vae.sample(3, seed=0).shape == (3, 8, 8, 1)
    vae.save(tmp_path / "vae.keras")
    loaded = kv.load(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.encode(X).indices, vae.encode(X).indices)
    np.testing.assert_array_equal(loaded.sample(3, seed=0), vae.sample(3, seed=0))
    loaded.fit(X[:16], epochs=1, verbose=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prior_of_each_adds_up_to_one_over_all_indices(kind):
    posterior = KINDS[kind]()
    posterior.build((None, 8))
    encoder = type("Encoder", (), {"posterior": posterior})
    length = 2 * posterior.depth
    if posterior.num_codes**length > 20_000:
        pytest.skip("too many to count")
    chains = np.array(list(itertools.product(range(posterior.num_codes), repeat=length)), "int32")
    for made in (
        priors.UniformCodes.of(posterior),
        priors.AutoregressiveCodes.of(posterior, units=8, num_layers=1, num_heads=2),
    ):
        made.build((None, 8))
        for number, weight in enumerate(made.weights):
            weight.assign(np.random.default_rng(number).normal(size=weight.shape))
        p = made.distribution(encoder)
        log_prob = np.asarray(p.log_prob_of(tf.constant(chains)), "float64")
        assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=1e-4)
        assert made.blocks == posterior.blocks
        uniform = isinstance(made, priors.UniformCodes)
        assert np.ptp(log_prob) < 1e-5 if uniform else log_prob.std() > 0.1


def test_draws_of_a_prior_of_depth_come_as_often_as_they_say():
    posterior = posteriors.Residual(posteriors.FiniteScalar([3], (1, 1)), 2)
    posterior.build((None, 8))
    made = priors.AutoregressiveCodes.of(posterior, units=8, num_layers=1, num_heads=2)
    made.build((None, 8))
    for number, weight in enumerate(made.weights):
        weight.assign(np.random.default_rng(number).normal(size=weight.shape))
    p = made.distribution(type("Encoder", (), {"posterior": posterior}))
    chains = tf.constant(list(itertools.product(range(3), repeat=2)))
    expected = np.exp(p.log_prob_of(chains))
    z = posterior.lookup(chains[:, tf.newaxis]).numpy()
    # Levels of stages divide each other: every chain is another z, and z tells its chain.
    assert len(np.unique(z.round(5))) == 9
    np.testing.assert_allclose(p.log_prob(z), np.log(expected), rtol=1e-4)
    drawn = p.sample(20_000, seed=[0, 1]).numpy()
    found = (np.abs(drawn[:, np.newaxis, 0] - z[:, 0]) < 1e-4).mean(axis=0)
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_the_sum_of_the_stages_is_the_reconstruction_and_each_takes_what_is_nearest():
    posterior = posteriors.Residual(table(dim=2, codes=5), 3)
    vae = vae_of(posterior)
    vae.fit(X, batch_size=16, epochs=2, verbose=0)
    q = vae.encode(X[:4])
    rest, total = np.asarray(q.features), 0.0
    commitment = np.zeros(4)
    for stage, part in enumerate(posterior.parts()):
        codebook = np.asarray(part.codebook)
        nearest = np.linalg.norm(rest[:, :, np.newaxis] - codebook, axis=-1).argmin(axis=-1)
        np.testing.assert_array_equal(q.indices[..., stage], nearest)
        total, rest = total + codebook[nearest], rest - codebook[nearest]
        commitment += np.square(rest).sum(axis=(1, 2))
    np.testing.assert_allclose(np.reshape(q.mean(), total.shape), total, atol=1e-5)
    np.testing.assert_allclose(q.extras["commitment"], commitment, rtol=1e-4)


def test_dropped_stages_are_the_last_and_only_in_training():
    posterior = posteriors.Residual(table(codes=5), 4, dropout=1.0)
    posterior.build((None, 8))
    features = tf.constant(RNG.normal(size=(64, 8)).astype("float32"))
    for _ in range(20):
        posterior(features, training=True)
    q = posterior(features, training=True)
    z = np.reshape(q.sample(seed=[0, 0]), (64, 2, 2))
    stages = np.stack(posterior.codes.stages(q.indices))
    partial = np.cumsum(stages, axis=0)
    distances = np.abs(partial - z).max(axis=(2, 3))
    assert np.all(distances.min(axis=0) < 1e-5)
    assert set(distances.argmin(axis=0)) == {0, 1, 2, 3}
    np.testing.assert_allclose(np.reshape(posterior(features).mean(), z.shape), partial[-1], atol=1e-5)


@pytest.mark.parametrize("levels", [[2], [3, 2], [8, 5, 4], [4, 4, 4]])
def test_levels_are_enumerated_each_once_by_the_formula_of_the_paper(levels):
    posterior = posteriors.FiniteScalar(levels, (1, 1))
    posterior.build((None, len(levels)))
    indices = np.arange(math.prod(levels))
    codebook = posterior.codebook.numpy()
    # Mentzer et al. 2023: digits of the basis (1, L_1, L_1 L_2, ...), less L // 2, by L // 2.
    half, basis = np.array(levels) // 2, np.concatenate([[1], np.cumprod(levels[:-1])])
    np.testing.assert_allclose(codebook, (indices[:, np.newaxis] // basis % levels - half) / half, atol=1e-6)
    assert {tuple(code) for code in codebook.round(5)} == set(
        itertools.product(*(tuple(((np.arange(n) - n // 2) / (n // 2)).round(5).astype("float32")) for n in levels))
    )
    np.testing.assert_array_equal(posterior.codes.nearest(posterior.codebook), indices)
    np.testing.assert_allclose(posterior.lookup(indices[:, np.newaxis]), codebook, atol=1e-6)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8])
def test_each_level_takes_an_equal_part_of_the_bounded_features(count):
    posterior = posteriors.FiniteScalar([count], (1, 1), whiten=False)
    # sigmoid(1.702 e) at the middles of equal parts, and far out.
    parts = (np.arange(1000) + 0.5) / 1000
    e = np.log(parts / (1 - parts)) / 1.702
    found = posterior.codes.nearest(posterior.prepare(tf.constant(e[:, np.newaxis], tf.float32))).numpy()
    np.testing.assert_allclose(np.bincount(found, minlength=count) / 1000, 1 / count, atol=2e-3)
    ends = posterior.codes.nearest(posterior.prepare(tf.constant([[-1e4], [1e4]])))
    np.testing.assert_array_equal(ends, [0, count - 1])


@pytest.mark.parametrize("base", [[4], [5, 2], [3, 8]])
def test_stages_of_levels_divide_what_is_left(base):
    """Stage by stage L times finer: within the bounds, no vector is further from its code than half the last step."""
    posterior = posteriors.Residual(posteriors.FiniteScalar(base, (1, 1)), 3)
    half = np.array(base) // 2
    low, step = -np.ones(len(base)), 1 / half
    v = low - step / 2 + RNG.random((500, len(base))) * step * base
    codes = posterior.codes
    found = codes.lookup(codes.nearest(tf.constant(v, tf.float32))).numpy()
    assert np.all(np.abs(found - v) <= step / 2 / np.array(base) ** 2 + 1e-5)
    indices = np.array(list(itertools.product(range(math.prod(base)), repeat=3)))[:200]
    np.testing.assert_array_equal(codes.nearest(codes.lookup(tf.constant(indices, tf.int32))), indices)


@pytest.mark.parametrize("spherical", [True, False])
def test_entropies_of_signs_are_those_of_the_softmax_over_all_codes(spherical):
    posterior = posteriors.LookupFree(3, (1, 1), spherical=spherical, temperature=0.7)
    e = posterior.prepare(tf.constant(RNG.normal(size=(40, 1, 3)).astype("float32")))[:, 0] if spherical else None
    e = tf.constant(RNG.normal(size=(40, 3)).astype("float32")) if e is None else e
    codebook = posterior.codebook.numpy()
    size = 3**-0.5 if spherical else 1.0
    assert {tuple(code) for code in codebook} == set(itertools.product((np.float32(-size), np.float32(size)), repeat=3))
    np.testing.assert_array_equal(posterior.codes.nearest(posterior.codebook), np.arange(8))
    distances = np.square(e.numpy()[:, np.newaxis] - codebook).sum(axis=-1)
    p = np.exp(-distances / 0.7)
    p /= p.sum(axis=1, keepdims=True)
    sure, used = posterior.entropies(e)
    assert float(sure) == pytest.approx(-np.sum(p * np.log(p), axis=1).mean(), rel=1e-4)
    assert float(used) == pytest.approx(-np.sum(p.mean(axis=0) * np.log(p.mean(axis=0))), rel=1e-4)


def test_entropies_join_the_loss_of_any_objective():
    posterior = posteriors.LookupFree(3, GRID, entropy_weight=0.5, diversity_weight=2.0)
    vae = vae_of(posterior, objective=objectives.ELBO())
    logs = vae.fit(X, batch_size=64, epochs=1, verbose=0).history
    added = vae.evaluate(X, batch_size=64, verbose=0, return_dict=True)
    features = vae.encode(X).features
    sure, used = posterior.entropies(features)
    assert added["regularization"] == pytest.approx(0.5 * 2 * float(sure - 2.0 * used), rel=1e-4)
    assert added["loss"] == pytest.approx(-added["elbo"] + added["regularization"], rel=1e-5)
    assert np.isfinite(logs["loss"][0])


def test_of_many_bits_the_entropy_of_pieces_is_an_upper_bound():
    many = posteriors.LookupFree(12, (1, 1), temperature=0.5)
    e = many.prepare(tf.constant(RNG.normal(size=(100, 1, 12)).astype("float32")))
    sure, used = (float(value) for value in many.entropies(e))
    logits = 4 * 12**-0.5 / 0.5 * e.numpy()[:, 0]
    bits = 1 / (1 + np.exp(-logits))
    p = np.ones((100, 1))
    for bit in bits.T:
        p = (p[:, :, None] * np.stack([1 - bit, bit], -1)[:, None]).reshape(100, -1)
    mean = p.mean(axis=0)
    assert used >= -np.sum(mean * np.log(mean)) - 1e-4
    assert sure == pytest.approx(-np.sum(p * np.log(p), axis=1).mean(), rel=1e-4)


def test_the_rotation_is_one_and_its_gradient_that_of_the_formula():
    e, q = (tf.constant(RNG.normal(size=(6, 4)).astype("float32")) for _ in range(2))
    with tf.GradientTape() as tape:
        tape.watch(e)
        z = rotated(e, q)
        loss = tf.reduce_sum(z * tf.constant(np.arange(24, dtype="float32").reshape(6, 4)))
    np.testing.assert_allclose(z, q, atol=1e-5)
    slopes = tape.gradient(loss, e).numpy()
    for row, (a, b) in enumerate(zip(e.numpy().astype("float64"), q.numpy().astype("float64"), strict=True)):
        a_hat, b_hat = a / np.linalg.norm(a), b / np.linalg.norm(b)
        r = (a_hat + b_hat) / np.linalg.norm(a_hat + b_hat)
        rotation = np.eye(4) - 2 * np.outer(r, r) + 2 * np.outer(b_hat, a_hat)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(4), atol=1e-10)
        expected = np.linalg.norm(b) / np.linalg.norm(a) * rotation.T @ np.arange(4 * row, 4 * row + 4)
        np.testing.assert_allclose(slopes[row], expected, rtol=1e-3, atol=1e-3)


def test_opposite_vectors_and_zeros_have_a_bounded_gradient():
    e = tf.constant([[1.0, 0.0], [0.0, 0.0], [1.0, 2.0], [1e-5, 0.0]])
    q = tf.constant([[-1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    with tf.GradientTape() as tape:
        tape.watch(e)
        z = rotated(e, q)
    np.testing.assert_allclose(z, q, atol=1e-6)
    slopes = tape.gradient(z, e).numpy()
    assert np.abs(slopes).max() <= LARGEST_RATIO
    # Where there is no direction to turn from, straight.
    np.testing.assert_array_equal(slopes[[1, 3]], 1.0)
    with tf.GradientTape() as tape:
        tape.watch(e)
        z = unit(e)
    np.testing.assert_allclose(z, [[1, 0], [0, 0], [0.2**0.5, 0.8**0.5], [1, 0]], atol=1e-6)
    np.testing.assert_array_equal(tape.gradient(z, e)[1], 1.0)


@pytest.mark.parametrize(("cosine", "through"), [(False, "rotation"), (True, "straight"), (True, "rotation")])
def test_features_of_zero_do_not_run_away(cosine, through):
    """Of empty images a layer without a bias gives zeros, from which a single step threw the features far away."""
    layer = layer_of(num_codes=4, cosine=cosine, through=through)
    features = tf.Variable([[0.0, 0.0], [1.0, 0.5], [-1.0, 0.2], [0.3, -1.0]] * 4)
    optimizer = keras.optimizers.SGD(1e-2)
    for _ in range(10):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(features, training=True).sample() - 1.0))
        optimizer.apply([tape.gradient(loss, features)], [features])
    assert np.abs(features.numpy()).max() < 3.0


def layer_of(**options):
    layer = posteriors.VectorQuantized(2, (1, 1), **options)
    layer.build((None, 2))
    layer.projection.kernel.assign(np.eye(2))
    return layer


def test_codes_that_learn_by_gradient_have_that_of_the_distance_alone():
    layer = layer_of(num_codes=2, learned_by="gradient")
    layer.counts.assign([1.0, 1.0])
    layer.vectors.assign([[1.0, 0.0], [0.0, 1.0]])
    features = tf.constant([[0.8, 0.1], [0.3, 2.0], [0.1, 1.5]])
    with tf.GradientTape(persistent=True) as tape:
        q = layer(features, training=True)
        z = tf.reduce_sum(q.sample(seed=[0, 0]) ** 2)
        (loss,) = layer.losses
    assert tape.gradient(z, layer.vectors.value) is None
    expected = [2 * (np.array([1.0, 0.0]) - [0.8, 0.1]), 2 * (2 * np.array([0.0, 1.0]) - [0.4, 3.5])]
    np.testing.assert_allclose(
        tf.convert_to_tensor(tape.gradient(loss, layer.vectors.value)), np.array(expected) / 3, atol=1e-5
    )


def test_the_start_of_means_is_a_fixed_point_of_lloyd():
    layer = layer_of(num_codes=3, start="kmeans")
    middles = np.array([[5.0, 0.0], [0.0, 5.0], [-5.0, -5.0]])
    batch = (np.repeat(middles, 20, axis=0) + 0.1 * RNG.normal(size=(60, 2))).astype("float32")
    q = layer(tf.constant(batch), training=True)
    codebook = layer.codebook.numpy()
    for code, own in zip(codebook, range(3), strict=True):
        np.testing.assert_allclose(code, batch[np.asarray(q.indices)[:, 0] == own].mean(axis=0), atol=1e-4)


def test_cosine_codes_have_length_one_and_only_directions_count():
    layer = layer_of(num_codes=4, cosine=True)
    batch = RNG.normal(size=(32, 2)).astype("float32")
    layer(tf.constant(batch), training=True)
    np.testing.assert_allclose(np.linalg.norm(layer.codebook, axis=1), 1.0, rtol=1e-5)
    cosines = batch @ layer.codebook.numpy().T
    np.testing.assert_array_equal(np.asarray(layer(tf.constant(batch)).indices)[:, 0], cosines.argmax(axis=1))
    np.testing.assert_array_equal(layer(tf.constant(7 * batch)).indices, layer(tf.constant(batch)).indices)


def test_whitened_features_have_no_correlation():
    layer = Whitening()
    layer.build((None, 3))
    mixing = RNG.normal(size=(3, 3))
    batch = (RNG.normal(size=(500, 2, 3)) @ mixing + [3.0, -40.0, 0.1]).astype("float32")
    white = layer(tf.constant(batch), training=True).numpy().reshape(-1, 3)
    np.testing.assert_allclose(np.cov(white.T), np.eye(3), atol=0.01)
    np.testing.assert_allclose(white.mean(axis=0), 0.0, atol=0.01)
    np.testing.assert_allclose(inverse_root(tf.constant([[4.0, 0.0], [0.0, 9.0]])), [[0.5, 0], [0, 1 / 3]], atol=1e-5)
    before = layer.get_weights()
    layer(tf.constant(np.full((4, 2, 3), np.nan, "float32")), training=True)
    layer.trainable = False
    layer(tf.constant(batch + 5), training=True)
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", MARKED)
def test_features_that_are_not_finite_and_constant_images_leave_codes_sound(kind):
    posterior = KINDS[kind]()
    posterior.build((None, 8))
    features = tf.constant(RNG.normal(size=(16, 8)).astype("float32"))
    posterior(features, training=True)
    before = posterior.get_weights()
    posterior(tf.where(tf.range(8) == 3, math.nan, features), training=True)
    for a, b in zip(before, posterior.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    # All alike, and a single example.
    for batch in (tf.ones([16, 8]), features[:1]):
        for _ in range(30):
            q = posterior(batch, training=True)
        assert np.isfinite(q.mean()).all() and all(np.isfinite(weight).all() for weight in posterior.get_weights())


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="levels must be a list of ints of at least 2"):
        posteriors.FiniteScalar([8, 1], GRID)
    with pytest.raises(ValueError, match="more than an index can tell"):
        posteriors.FiniteScalar([64] * 6, GRID)
    with pytest.raises(ValueError, match="grid must be"):
        posteriors.FiniteScalar([8], (2,))
    with pytest.raises(ValueError, match="num_bits must be an int from 1 to 30"):
        posteriors.LookupFree(31, GRID)
    with pytest.raises(ValueError, match="learned_by must be one of"):
        table(learned_by="ema")
    with pytest.raises(ValueError, match="cosine codes of one number"):
        table(dim=1, cosine=True)
    for made in (posteriors.Residual, posteriors.Grouped):
        with pytest.raises(TypeError, match="base must be a posterior of codes"):
            made(posteriors.MultivariateNormalDiag(4), 2)
        with pytest.raises(ValueError, match="num_"):
            made(table(), 0)
    with pytest.raises(TypeError, match="posterior must be a posterior of codes"):
        priors.UniformCodes.of(posteriors.MultivariateNormalDiag(4))
    posterior = posteriors.Residual(table(), 2)
    posterior.build((None, 8))
    for wrong, message in (
        (np.zeros((3, 2), int), r"Indices must be \[..., 1, 2, 2\]"),
        (np.full((3, 2, 2), 3), "0 to 2"),
        (np.full((3, 2, 2), -1), "0 to 2"),
        (np.zeros((3, 2, 2)), "whole numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            posterior.lookup(wrong)
    with pytest.raises(ValueError, match="cannot be compared"):
        vae_of(posterior, priors.UniformCodes(4, GRID, 3))


def test_levels_of_a_codebook_round_to_the_nearest():
    codes = Levels([3, 2], [-1.0, 0.0], [1.0, 0.5])
    v = RNG.uniform(-3, 3, size=(100, 2)).astype("float32")
    everything = codes.lookup(tf.range(6)).numpy()
    distances = np.square(v[:, np.newaxis] - everything).sum(axis=-1)
    np.testing.assert_array_equal(codes.nearest(tf.constant(v)), distances.argmin(axis=1))
