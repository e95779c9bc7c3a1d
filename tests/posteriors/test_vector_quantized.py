"""Codebooks, and the prior over their codes, against brute force and numbers by hand."""

import itertools
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import export, likelihoods, networks, objectives, posteriors, priors
from keras_vae.conditions import Label, Vector
from keras_vae.distributions.codes import Codes, indices_of, nearest, perplexity

RNG = np.random.default_rng(0)
X = (RNG.random((64, 8, 8, 1)) > np.linspace(0.1, 0.9, 8)[:, None]).astype("float32")
GRID, CODES, DIM = (2, 2), 5, 3


def make(grid=GRID, codes=CODES, seed=0, **options):
    size = grid[0] * grid[1] * DIM
    keras.utils.set_random_seed(0)
    return kv.VAE(
        kv.Encoder(networks.conv([8, 8]), posteriors.VectorQuantized(size, grid, codes, **options)),
        kv.Decoder(networks.conv([8, 8], from_map=True), likelihoods.Bernoulli((8, 8, 1))),
        priors.AutoregressiveCodes(size, grid, codes, units=16, num_layers=1, num_heads=2),
        objectives.CommittedELBO(),
        seed=seed,
    )


@pytest.fixture(scope="module")
def trained():
    vae = make()
    vae.compile(keras.optimizers.Adam(3e-3))
    return vae, vae.fit(X, batch_size=16, epochs=12, verbose=0).history


@pytest.fixture(scope="module")
def prior():
    """A prior over three places of three codes that prefers some, with its codebook."""
    made = priors.AutoregressiveCodes(6, (1, 3), 3, units=8, num_layers=2, num_heads=2)
    made.build((None, 8))
    for weight in made.weights:
        weight.assign(np.random.default_rng(len(weight.path)).normal(size=weight.shape))
    return made, tf.constant(RNG.normal(size=(3, 2)).astype("float32"))


@pytest.mark.parametrize("condition", [Label(3), Vector(2)], ids=["label", "vector"])
def test_codes_given_a_condition(condition):
    made = priors.AutoregressiveCodes(6, (1, 3), 3, units=8, num_layers=1, num_heads=2, condition=condition)
    made.build((None, 8))
    codebook = tf.constant(RNG.normal(size=(3, 2)).astype("float32"))
    encoder = SimpleNamespace(posterior=SimpleNamespace(codebook=codebook))
    given = np.array([0, 2]) if condition.num_classes else np.array([[0.1, 3.0], [-2.0, 0.5]], "float32")
    with pytest.raises(ValueError, match="call it with condition="):
        made.distribution(encoder)
    both = made.distribution(encoder, given)
    z = tf.reshape(tf.gather(codebook, list(itertools.product(range(3), repeat=3))), [27, 1, 6])
    # It starts as the same for all, and is a distribution over all chains for each of them.
    np.testing.assert_allclose(*np.exp(both.log_prob(z)).T, rtol=1e-5)
    for weight in made.weights:
        weight.assign(np.random.default_rng(len(weight.path)).normal(size=weight.shape))
    p = np.exp(both.log_prob(z))
    assert p.shape == (27, 2) and np.abs(p[:, 0] - p[:, 1]).max() > 0.05
    np.testing.assert_allclose(p.sum(axis=0), 1.0, rtol=1e-5)
    # Row i of the batch is what its condition gives alone, in densities and in draws.
    np.testing.assert_allclose(p[:, 1], np.exp(made.distribution(encoder, given[1:]).log_prob(z))[:, 0], rtol=1e-4)
    drawn = both.sample(4000, seed=1)
    assert drawn.shape == (4000, 2, 6)
    for row in range(2):
        shares = (drawn.numpy()[:, row, np.newaxis] == z.numpy()[:, 0]).all(axis=-1).mean(axis=0)
        np.testing.assert_allclose(shares, p[:, row], atol=0.03)


def test_the_nearest_code_is_the_one_of_brute_force():
    vectors, codebook = RNG.normal(size=(4, 7, 3)), RNG.normal(size=(11, 3))
    found = nearest(tf.constant(vectors), tf.constant(codebook))
    distances = np.linalg.norm(vectors[:, :, None] - codebook, axis=-1)
    np.testing.assert_array_equal(found, distances.argmin(axis=-1))


def test_perplexity_of_known_counts():
    for counts, expected in (([3, 3, 3, 3], 4.0), ([0, 9, 0], 1.0), ([1, 3], 4 / 27**0.25), ([0, 0], 1.0)):
        assert float(perplexity(tf.constant(counts, tf.float32))) == pytest.approx(expected, rel=1e-5)


def layer_of(codes=2, **options):
    """A posterior whose projection is the identity, on a grid of one place."""
    layer = posteriors.VectorQuantized(2, (1, 1), codes, **options)
    layer.build((None, 2))
    layer.projection.kernel.assign(np.eye(2))
    return layer


def test_a_step_of_the_moving_averages_by_hand():
    layer = layer_of(decay=0.9)
    layer.counts.assign([2.0, 4.0])
    layer.sums.assign([[2.0, 0.0], [0.0, 4.0]])  # the codes (1, 0) and (0, 1)
    q = layer(tf.constant([[1.0, 0.2], [2.0, 0.0], [0.0, 3.0]]), training=True)
    np.testing.assert_allclose(layer.counts, [0.9 * 2 + 0.1 * 2, 0.9 * 4 + 0.1 * 1], rtol=1e-6)
    np.testing.assert_allclose(layer.sums, [[0.9 * 2 + 0.1 * 3, 0.1 * 0.2], [0.0, 0.9 * 4 + 0.1 * 3]], rtol=1e-5)
    np.testing.assert_allclose(layer.codebook[0], [2.1 / 2.0, 0.02 / 2.0], rtol=1e-5)
    np.testing.assert_array_equal(q.indices, [[0], [0], [1]])
    before = layer.get_weights()
    layer(tf.constant([[5.0, 5.0]]))
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_dead_codes_start_again_at_features_of_the_batch_and_the_others_stay():
    layer = layer_of(codes=3, decay=0.5, revive_below=0.1)
    layer.counts.assign([4.0, 4.0, 0.1])
    layer.sums.assign([[4.0, 0.0], [0.0, 4.0], [10.0, 10.0]])  # the last at (100, 100), used by nobody
    batch = np.array([[1.0, 0.1], [0.1, 1.0], [0.9, 0.0], [0.0, 0.9]], "float32")
    layer(tf.constant(batch), training=True)
    # The share of a code is 4 / 3; half of 0.1 is less than a tenth of it.
    np.testing.assert_allclose(layer.counts, [3.0, 3.0, 4 / 3], rtol=1e-6)
    assert min(np.abs(batch - layer.codebook[2]).sum(axis=1)) < 1e-5
    np.testing.assert_allclose(layer.codebook[0], [(2.0 + 0.95) / 3, 0.05 / 3], rtol=1e-5)


def test_at_the_first_step_all_codes_are_features():
    layer = layer_of(codes=6)
    batch = RNG.normal(size=(32, 2)).astype("float32")
    layer(tf.constant(batch), training=True)
    for code in layer.codebook.numpy():
        assert np.abs(batch - code).sum(axis=1).min() < 1e-5
    assert len(np.unique(layer.codebook, axis=0)) > 2


def test_the_gradient_passes_straight_through_and_the_commitment_is_a_distance():
    layer = layer_of()
    layer.counts.assign([1.0, 1.0])
    layer.sums.assign([[1.0, 0.0], [0.0, 1.0]])
    features = tf.constant([[0.8, 0.1], [0.3, 2.0]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(features)
        q = layer(features, training=True)
        z = q.sample(seed=[0, 0])
        value = tf.reduce_sum(z * [[1.0, 2.0], [3.0, 4.0]])
        commitment = q.extras["commitment"]
    np.testing.assert_allclose(z, tf.gather(layer.codebook, q.indices[:, 0]), atol=1e-6)
    np.testing.assert_allclose(tape.gradient(value, features), [[1, 2], [3, 4]])
    distance = features - tf.gather(layer.codebook, q.indices[:, 0])
    np.testing.assert_allclose(commitment, tf.reduce_sum(distance**2, axis=1), rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(commitment, features), 2 * distance, rtol=1e-5)


def test_the_probabilities_of_all_grids_add_up_to_one(prior):
    made, codebook = prior
    p = Codes(made.logits, 3, codebook)
    grids = np.array(list(itertools.product(range(3), repeat=3)), "int32")
    log_prob = p.log_prob_of(tf.constant(grids)).numpy()
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=1e-5) and log_prob.std() > 0.1
    z = tf.reshape(tf.gather(codebook, grids), [27, 6])
    np.testing.assert_allclose(p.log_prob(z), log_prob, rtol=1e-5)
    # Draws come as often as they say.
    drawn = indices_of(p.sample(20_000, seed=[0, 1]), codebook).numpy()
    counts = np.bincount(drawn @ [9, 3, 1], minlength=27) / 20_000
    np.testing.assert_allclose(counts, np.exp(log_prob), atol=5 * math.sqrt(0.25 / 20_000))


def test_a_place_depends_on_those_before_it_and_on_no_other(prior):
    made, _ = prior
    embedded = tf.constant(RNG.normal(size=(1, 3, 8)).astype("float32"))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(embedded)
        logits = made.logits_of(embedded)
    # TensorFlow's vectorised Jacobian aborts the process at an attention.
    slopes = tape.jacobian(logits, embedded, experimental_use_pfor=False).numpy()
    jacobian = np.abs(slopes).max(axis=(0, 2, 3, 5))
    assert np.all(np.triu(jacobian) == 0.0)
    assert np.all(jacobian[np.tril_indices(3, -1)] > 1e-6)


def test_the_elbo_is_that_of_a_discrete_latent(trained):
    vae, history = trained
    terms = vae.infer(X[:8], seed=0)
    (group,) = terms.groups
    assert group.kl_is_exact and not np.any(group.log_q)
    np.testing.assert_allclose(group.kl, -group.log_p[0], rtol=1e-4)
    assert set(terms.extras) == {"commitment", "usage"}
    assert np.all(vae.log_prob(X[:8], num_samples=3) <= 0.0)
    np.testing.assert_allclose(vae.log_prob(X[:8], num_samples=3), terms.elbo, rtol=1e-4)
    assert history["elbo"][-1] > history["elbo"][0] + 2.0
    assert 1.0 <= history["perplexity"][-1] <= CODES and history["commitment"][-1] >= 0.0
    # A prior of a uniform would cost log 5 a place.
    assert history["kl"][-1] < 4 * math.log(CODES)


def test_codes_are_decoded_and_drawn(trained):
    vae, _ = trained
    q = vae.encode(X[:3])
    posterior = vae.encoder.posterior
    indices = np.reshape(q.indices, (3, *GRID))
    np.testing.assert_allclose(vae.decode(posterior.lookup(indices)).mean(), vae.reconstruct(X[:3]), atol=1e-6)
    z = vae.generate(6, seed=0).z
    np.testing.assert_array_equal(posterior.lookup(indices_of(z, posterior.codebook)), z)
    np.testing.assert_array_equal(vae.sample(4, seed=1), vae.sample(4, seed=1))
    assert np.isneginf(q.log_prob(posterior.lookup((indices + 1) % CODES))).all()
    for wrong, message in ((indices[:, :1], "Indices must be"), (indices + CODES, "0 to 4")):
        with pytest.raises(ValueError, match=message):
            posterior.lookup(wrong)


@pytest.mark.slow
def test_it_is_saved_loaded_and_exported_with_its_codebook(trained, tmp_path):
    vae, _ = trained
    vae.save(tmp_path / "vae.keras")
    for loaded in (keras.saving.load_model(tmp_path / "vae.keras"), kv.load(tmp_path / "vae.keras")):
        np.testing.assert_array_equal(loaded.sample(4, seed=1), vae.sample(4, seed=1))
    # Codes, their counts and the optimizer go on where they were.
    data = tf.data.Dataset.from_tensor_slices(X).batch(16)
    copies = [keras.saving.load_model(tmp_path / "vae.keras") for _ in range(2)]
    for copy in copies:
        copy.fit(data, epochs=1, verbose=0)
    for a, b in zip(copies[0].weights, copies[1].weights, strict=True):
        np.testing.assert_array_equal(a, b)
    report = export.to_saved_model(vae, tmp_path / "serving")
    assert report.ok and not report.left_out
    assert any("`decode_indices` takes their indices" in note for note in report.notes)
    served = tf.saved_model.load(report.path).signatures
    found = served["encode"](x=tf.constant(X[:3]))
    answer = served["decode_indices"](indices=found["indices"])["mean"]
    np.testing.assert_allclose(answer, vae.reconstruct(X[:3]), atol=1e-5)
    wrong = tf.tensor_scatter_nd_update(found["indices"], [[1, 0, 0]], [CODES])
    answer = served["decode_indices"](indices=wrong)["mean"].numpy()
    assert np.isnan(answer[1]).all() and np.isfinite(answer[[0, 2]]).all()
    assert "indices" in (report.path.parent / "SERVING.md").read_text()


def test_a_skipped_step_moves_no_code():
    vae = make()
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.train_on_batch(X[:8])
    before = vae.encoder.get_weights()
    vae.train_on_batch(np.full((8, 8, 8, 1), np.nan, "float32"))
    assert int(vae.skip_counts.counts[0]) == 1
    for a, b in zip(before, vae.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="multiple of 4"):
        posteriors.VectorQuantized(10, (2, 2))
    with pytest.raises(ValueError, match="grid must be"):
        posteriors.VectorQuantized(12, 4)
    with pytest.raises(ValueError, match="decay"):
        posteriors.VectorQuantized(12, (2, 2), decay=1.0)
    with pytest.raises(ValueError, match="num_heads 3 must divide"):
        priors.AutoregressiveCodes(12, (2, 2), units=16, num_heads=3)
    with pytest.raises(ValueError, match="units are dense layers"):
        networks.conv([4], units=[8], from_map=True)
    encoder = kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(2))
    decoder = kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((8, 8, 1)))
    with pytest.raises(ValueError, match="needs the commitment"):
        kv.VAE(encoder, decoder, priors.StandardNormal(2), objectives.CommittedELBO())
    quantized = kv.Encoder(networks.mlp([8]), posteriors.VectorQuantized(2, (1, 2), 3))
    with pytest.raises(ValueError, match="cannot be compared"):
        kv.VAE(quantized, decoder, priors.StandardNormal(2), objectives.ELBO())
