"""What holds for every distribution: one table of constructors, and properties that each line must have.

Densities against sums and integrals, moments and KL against draws, batches against their single entries. A class of
`keras_vae` without a line, or a KL that it registers without one, fails the tests at the end.
"""

import dataclasses
import importlib
import math
import pkgutil
from collections.abc import Callable

import numpy as np
import parts
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.distributions import kullback_leibler

import keras_vae
from keras_vae.distributions.bijectors import chain, conditioners
from keras_vae.distributions.codes import Codes, EqualCodes, Quantized, nearest
from keras_vae.distributions.gaussian import CentredNormal
from keras_vae.distributions.grid import GridBinomial, GridCategorical, GridLogistic, GridLogisticMixture
from keras_vae.distributions.joint import Joint
from keras_vae.distributions.kumaraswamy import IntervalKumaraswamy
from keras_vae.distributions.mixtures import mixture
from keras_vae.distributions.one_hot import OneHot
from keras_vae.likelihoods.bernoulli import LogitBernoulli
from keras_vae.likelihoods.given_means import LogisticGivenMean

Shape = tuple[int, ...]
BATCHES = ((), (2,), (2, 3))
DRAWS, ERRORS = 20_000, 5.0  # an average of draws must lie within so many of its standard errors
CODEBOOK = tf.constant([[0.0, 1.0], [2.0, -1.0], [-1.5, 0.5]])
PLACES = 2


def numbers(batch: Shape, *tail: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> tf.Tensor:
    """Parameters [*batch, *tail] between two numbers; those of a smaller batch are the first of a larger one's."""
    full = tf.random.stateless_uniform((*BATCHES[-1], *tail), [seed, 7], low, high)
    return full[(0,) * (2 - len(batch))] if len(batch) == 0 else full[:, 0] if len(batch) == 1 else full


def grid(levels: int) -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(0.0, 1.0, levels, dtype="float32"), np.ones(levels)


def corners(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.eye(size, dtype="float32"), np.ones(size)


def interval(low: float, high: float, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """The nodes and weights of Gauss and Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (low + (high - low) * (nodes + 1) / 2).astype("float32"), weights * (high - low) / 2


def plane(width: float = 12.0, n: int = 160) -> tuple[np.ndarray, np.ndarray]:
    return product((interval(-width, width, n)[0][:, None], interval(-width, width, n)[1]), repeat=2)


def product(*sets: tuple[np.ndarray, np.ndarray], repeat: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """All vectors of a block from each set, with the products of their weights."""
    points, weights = np.zeros((1, 0), "float32"), np.ones(1)
    for more, their in sets * repeat:
        points = np.concatenate([np.repeat(points, len(more), axis=0), np.tile(more, (len(points), 1))], axis=1)
        weights = np.outer(weights, their).ravel()
    return points, weights


def quantized(batch: Shape, training: bool = False) -> Quantized:
    features = numbers(batch, PLACES, 2, low=-2.0, high=2.0)
    return Quantized(features, nearest(features, CODEBOOK), CODEBOOK, training)


def codes(batch: Shape) -> Codes:
    """Two codes, of which the second depends on the first; there is one such distribution, not a batch."""
    first, second = numbers((), 3, seed=1), numbers((), 3, 3, seed=2, low=-2.0, high=2.0)
    return Codes(
        lambda k: tf.stack([tf.broadcast_to(first, (tf.shape(k)[0], 3)), tf.gather(second, k[:, 0])], axis=1),
        PLACES,
        CODEBOOK,
    )


def normal(batch: Shape, size: int = 1) -> tfd.Distribution:
    return tfd.MultivariateNormalDiag(numbers(batch, size, seed=3), numbers(batch, size, seed=4, low=0.5))


def flow(kind: str, batch: Shape) -> tfd.Distribution:
    layers = conditioners(kind, 2, 2, (4,), context_size=3)
    for layer in layers:
        for index, weight in enumerate(layer.trainable_variables):
            weight.assign(0.2 * tf.random.stateless_normal(weight.shape, [index, 5]))
    return tfd.TransformedDistribution(normal(batch, 2), chain(layers, numbers(batch, 3, seed=6)))


def of_posterior(name: str, batch: Shape) -> tfd.Distribution:
    """What a posterior makes: the only way to the distributions of our operators."""
    posterior = parts.POSTERIORS[name](2)
    return posterior.distribution(numbers(batch, posterior.params_size, seed=8))


@dataclasses.dataclass(frozen=True)
class Row:
    """A distribution and what is known of it.

    Attributes:
        make: from a batch shape.
        defined: the statistics that it has in closed form; the others it must refuse.
        points: all its values with weights of one, or points and weights of a quadrature over its domain.
        batches: the batch shapes that it should have.
        off: how far the closed mean may be from the mean, as its class says.
        relaxed: whether draws are of another distribution than the densities, as its class says.
    """

    make: Callable[[Shape], tfd.Distribution]
    defined: tuple[str, ...]
    points: tuple[np.ndarray, np.ndarray]
    batches: tuple[Shape, ...] = BATCHES
    off: float = 0.0
    relaxed: bool = False


STATISTICS = ("mean", "variance", "entropy", "mode")
CODE_GRID = product((CODEBOOK.numpy(), np.ones(3)), repeat=PLACES)

ROWS = {
    "grid_logistic": Row(
        lambda b: GridLogistic(numbers(b, low=0.0, high=1.2), numbers(b, seed=1, low=0.1, high=0.3), 8),
        ("mean",),
        grid(8),
    ),
    "grid_logistic_of_many_levels": Row(
        lambda b: GridLogistic(numbers(b, low=0.0, high=1.2), numbers(b, seed=1, low=0.02, high=0.3), 64),
        ("mean",),
        grid(64),
        off=0.5 / 63,
    ),
    "grid_logistic_mixture": Row(
        lambda b: GridLogisticMixture(
            numbers(b, 3), numbers(b, 3, seed=1, low=0.0), numbers(b, 3, seed=2, low=0.05, high=0.2), 8
        ),
        ("mean",),
        grid(8),
    ),
    "grid_categorical": Row(lambda b: GridCategorical(numbers(b, 5, high=2.0)), ("mean",), grid(5)),
    "grid_binomial": Row(lambda b: GridBinomial(numbers(b, high=2.0), 6), ("mean",), grid(7)),
    "one_hot": Row(lambda b: OneHot(numbers(b, 4, high=2.0)), STATISTICS, corners(4)),
    "one_hot_relaxed": Row(lambda b: OneHot(numbers(b, 4, high=2.0), 0.5), STATISTICS, corners(4), relaxed=True),
    "one_hot_straight_through": Row(lambda b: OneHot(numbers(b, 4, high=2.0), 0.5, True), STATISTICS, corners(4)),
    "joint": Row(
        lambda b: Joint([normal(b), OneHot(numbers(b, 3))]),
        ("mean", "variance", "entropy"),
        product((interval(-9.0, 9.0)[0][:, None], interval(-9.0, 9.0)[1]), corners(3)),
    ),
    "quantized": Row(quantized, STATISTICS, CODE_GRID),
    "quantized_in_training": Row(lambda b: quantized(b, training=True), STATISTICS, CODE_GRID),
    "codes": Row(codes, (), CODE_GRID, batches=((),)),
    "equal_codes": Row(lambda b: EqualCodes(PLACES, CODEBOOK), (), CODE_GRID, batches=((),)),
    "kumaraswamy": Row(
        lambda b: IntervalKumaraswamy(
            numbers(b, low=1.2, high=4.0), numbers(b, seed=1, low=1.2, high=4.0), low=-1.0, high=2.0
        ),
        ("mean", "variance", "entropy"),
        interval(-1.0, 2.0),
    ),
    "mixture": Row(
        lambda b: mixture(
            numbers(b, 3), tfd.MultivariateNormalDiag(numbers(b, 3, 2, seed=1), numbers(b, 3, 2, seed=2, low=0.4))
        ),
        ("mean", "variance"),
        plane(),
    ),
    "logistic_given_mean": Row(
        lambda b: LogisticGivenMean(
            numbers(b, 3, low=0.2, high=0.8),
            numbers(b, 3, seed=1, low=0.1, high=0.2),
            tf.fill(b, 0.47),
            [0.2, 0.3, 0.5],
            6,
        ),
        ("mean",),
        product((grid(6)[0][:, None], grid(6)[1]), repeat=3),
        off=0.1,
    ),
    "logit_bernoulli": Row(
        lambda b: LogitBernoulli(logits=numbers(b, high=2.0), dtype=tf.float32),
        STATISTICS,
        grid(2),
    ),
    "centred_normal": Row(
        lambda b: CentredNormal(numbers(b), numbers(b, seed=1, low=0.4)), STATISTICS, interval(-9.0, 9.0)
    ),
    "iaf": Row(lambda b: flow("iaf", b), (), plane()),
    "coupling": Row(lambda b: flow("coupling", b), (), plane()),
    "eigen": Row(lambda b: of_posterior("eigen", b), STATISTICS, plane()),
    "low_rank": Row(lambda b: of_posterior("low_rank", b), STATISTICS, plane()),
}

NAMES = list(ROWS)
RANKS = [
    pytest.param(name, batch, id=f"{name}-rank{len(batch)}") for name, row in ROWS.items() for batch in row.batches
]


def one_batch(name: str) -> tfd.Distribution:
    """The distribution with a batch of two, if it has batches."""
    row = ROWS[name]
    return row.make((2,) if (2,) in row.batches else ())


@pytest.mark.parametrize(("name", "batch"), RANKS)
def test_shapes(name, batch):
    d = ROWS[name].make(batch)
    assert d.batch_shape == batch and tuple(d.batch_shape_tensor()) == batch
    event = ROWS[name].points[0].shape[1:]
    assert d.event_shape == event and tuple(d.event_shape_tensor()) == event
    for shape in ((), (4,), (4, 5)):
        z = d.sample(shape, seed=[0, 1])
        assert z.shape == (*shape, *batch, *event) and z.dtype == d.dtype == tf.float32
        drawn, log_prob = d.experimental_sample_and_log_prob(shape, seed=[0, 1])
        assert drawn.shape == z.shape and log_prob.shape == d.log_prob(z).shape == (*shape, *batch)
    for statistic in STATISTICS:
        if statistic in ROWS[name].defined:
            found = getattr(d, statistic)()
            assert found.shape == (batch if statistic == "entropy" else (*batch, *event)), statistic
        else:
            with pytest.raises(NotImplementedError):
                getattr(d, statistic)()


@pytest.mark.parametrize(("name", "batch"), RANKS)
def test_an_entry_of_a_batch_is_the_distribution_of_its_own_parameters(name, batch):
    row = ROWS[name]
    other = row.batches[0]
    found, expected = ((row.make(b), (0,) * len(b), b) for b in (batch, other))
    (d, first, _), (single, its_first, _) = found, expected
    z = d.sample(6, seed=[2, 3])[(slice(None), *first)]
    log_probs = [of_points(p, z)[(slice(None), *entry)] for p, entry, _ in (found, expected)]
    np.testing.assert_allclose(*log_probs, rtol=1e-4, atol=1e-5)
    for statistic in row.defined:
        values = getattr(d, statistic)()[first], getattr(single, statistic)()[its_first]
        np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-5, err_msg=statistic)


def of_points(d, points):
    """The log-density of the same points [n, *event] for each entry of the batch, [n, *batch]."""
    batch, points = tuple(d.batch_shape), np.asarray(points)
    shaped = points.reshape(len(points), *(1,) * len(batch), *points.shape[1:])
    return np.asarray(d.log_prob(np.broadcast_to(shaped, (len(points), *batch, *points.shape[1:]))), "float64")


@pytest.mark.parametrize(("name", "batch"), RANKS)
def test_the_log_density_of_a_draw_is_the_one_that_comes_with_it(name, batch):
    d = ROWS[name].make(batch)
    z, log_prob = d.experimental_sample_and_log_prob(50, seed=[4, 5])
    # A bijector remembers what it made of a tensor: another one with the same numbers makes it compute the inverse.
    np.testing.assert_allclose(d.log_prob(tf.identity(z)), log_prob, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(d.experimental_sample_and_log_prob(50, seed=[4, 5])[0], z)


def integrals(d, row):
    """A function that integrates functions of points [n, *event] and log-densities [n, *batch] under a density."""
    points, weights = row.points
    log_prob = of_points(d, points)
    batch = (1,) * d.batch_shape.rank
    mass = np.exp(log_prob) * weights.reshape(-1, *batch)

    def integral(function):
        values = function(points.astype("float64").reshape(len(points), *batch, *points.shape[1:]), log_prob)
        of_event = mass.reshape(*mass.shape, *(1,) * (values.ndim - mass.ndim))
        # What has no mass counts nothing, its infinite log-density included.
        return np.sum(of_event * np.where(of_event > 0, values, 0.0), axis=0)

    return integral


@pytest.mark.parametrize("name", NAMES)
def test_the_density_is_normalised_and_has_the_statistics_that_are_stated(name):
    d, row = one_batch(name), ROWS[name]
    integral = integrals(d, row)
    np.testing.assert_allclose(integral(lambda z, log_prob: np.ones_like(log_prob)), 1.0, atol=1e-3)
    mean = integral(lambda z, _: z)
    if "mean" in row.defined:
        np.testing.assert_allclose(d.mean(), mean, atol=1e-3 + row.off)
    if "variance" in row.defined:
        np.testing.assert_allclose(d.variance(), integral(lambda z, _: (z - mean) ** 2), atol=1e-3)
    if "entropy" in row.defined:
        np.testing.assert_allclose(d.entropy(), integral(lambda _, log_prob: -log_prob), atol=1e-3)
    if "mode" in row.defined:
        assert np.all(d.log_prob(d.mode()) >= of_points(d, row.points[0]).max(axis=0) - 1e-5)


def assert_mean(values, expected, off=0.0):
    """That `expected` is the mean of what `values` [n, ...] are draws of."""
    values = np.asarray(values, "float64")
    error = values.std(axis=0) / math.sqrt(len(values))
    assert np.all(np.abs(values.mean(axis=0) - expected) <= ERRORS * error + 1e-4 + off)


@pytest.mark.parametrize("name", NAMES)
def test_draws_have_the_density_and_the_statistics_that_are_stated(name):
    d, row = one_batch(name), ROWS[name]
    z = np.asarray(d.sample(DRAWS, seed=[6, 7]), "float64")
    if row.relaxed:
        # Points between the corners, of which the nearest have the probabilities of exact draws.
        np.testing.assert_allclose(z.sum(axis=-1), 1.0, atol=1e-5)
        assert np.all(z >= 0.0) and np.mean(z.max(axis=-1) < 0.99) > 0.1
        assert_mean(np.eye(z.shape[-1])[z.argmax(axis=-1)], d.mean())
        return
    if "mean" in row.defined:
        assert_mean(z, d.mean(), row.off)
    if "variance" in row.defined:
        assert_mean((z - np.asarray(d.mean())) ** 2, d.variance())
    log_prob = -np.asarray(d.log_prob(z.astype("float32")), "float64")
    if "entropy" in row.defined:
        assert_mean(log_prob, d.entropy())
    # Where nothing is stated too: what a function of z is on average, it is under the density.
    integral = integrals(d, row)
    assert_mean(z, integral(lambda z, _: z), 1e-3)
    assert_mean(z**2, integral(lambda z, _: z**2), 2e-3)
    assert_mean(log_prob, integral(lambda _, log_prob: -log_prob), 2e-3)


@pytest.mark.parametrize("statistic", ["mean", "variance", "entropy"])
def test_a_joint_of_one_block_without_a_batch_is_that_of_its_copies(statistic):
    one = normal(())
    copies = tfd.MultivariateNormalDiag(*(tf.tile(t[tf.newaxis], [2, 1]) for t in (one.loc, one.stddev())))
    joint, even = (Joint([block, OneHot(numbers((2,), 3))]) for block in (one, copies))
    z, log_prob = joint.experimental_sample_and_log_prob(5, seed=[0, 1])
    assert z.shape == joint.sample(5, seed=[0, 1]).shape == (5, 2, 4)
    for found in (log_prob, joint.log_prob(z)):
        np.testing.assert_allclose(found, even.log_prob(z), rtol=1e-5)
    np.testing.assert_allclose(getattr(joint, statistic)(), getattr(even, statistic)(), rtol=1e-5)


KLS = {
    ("OneHot", "OneHot"): (lambda b: OneHot(numbers(b, 4, high=2.0)), lambda b: OneHot(numbers(b, 4, seed=1))),
    ("IntervalKumaraswamy", "Uniform"): (ROWS["kumaraswamy"].make, lambda b: tfd.Uniform(-1.5, 2.5)),
    ("Quantized", "Codes"): (quantized, codes),
}


@pytest.mark.parametrize(
    ("pair", "batch"),
    [pytest.param(pair, batch, id="-".join(pair) + f"-rank{len(batch)}") for pair in KLS for batch in BATCHES],
)
def test_a_kl_is_the_mean_of_the_log_ratio_of_draws(pair, batch):
    q, p = (make(batch) for make in KLS[pair])
    assert (type(q).__name__, type(p).__name__) == pair
    kl = tfd.kl_divergence(q, p)
    assert kl.shape == batch
    z, log_q = q.experimental_sample_and_log_prob(DRAWS, seed=[8, 9])
    assert_mean(log_q - p.log_prob(z), kl)
    assert np.all(kl > 0.01)


def ours(base):
    """The subclasses of `base` in this package, abstract ones left out."""
    below = base.__subclasses__()
    found = {cls for cls in below if cls.__module__.startswith("keras_vae.")}
    for cls in below:
        found |= ours(cls)
    return found


def test_every_distribution_of_the_package_has_a_row():
    for module in pkgutil.walk_packages(keras_vae.distributions.__path__, "keras_vae.distributions."):
        importlib.import_module(module.name)
    tested = {type(row.make(batch)) for row in ROWS.values() for batch in row.batches}
    missing = {cls.__name__ for cls in ours(tfd.Distribution) - tested}
    # The base of those on a grid, and what is images of a row's groups. Those of levels are drawn by a way of their own
    # (tests/models/test_level_posteriors.py), those of missing values sum over some (tests/models/test_missing.py), and
    # the mean of a row of a table is that of no average of draws (tests/likelihoods/test_mixed.py).
    assert missing == {"Grid", "ImageGivenMeans", "Flat", "Observed", "Columns"}


def test_every_kl_that_the_package_registers_has_a_row():
    registered = {
        tuple(cls.__name__ for cls in pair)
        for pair, function in kullback_leibler._DIVERGENCES.items()
        if function.__module__.startswith("keras_vae.")
    }
    # That of levels is compared with the sum over its places in tests/models/test_level_posteriors.py.
    assert registered and registered <= {*KLS, ("Flat", "MultivariateNormalDiag")}
