"""The one table of constructors. A line here gives a part the whole battery of test_composition and its fellows.

Everything is tiny, and odd where it can be: images of 6 x 5 x 2, three latent dimensions, layers of eight units.
"""

import functools
import itertools

import numpy as np

import keras_vae as kv
from keras_vae import flows, likelihoods, networks, objectives, posteriors, priors
from keras_vae.conditions import Condition, Image, Label, TableColumns, Vector
from keras_vae.models.ladder import LadderDecoder, LadderEncoder
from keras_vae.schedules import Cyclical, Linear

SHAPE = (6, 5, 2)
SERIES = (11, 2)
L = 3

POSTERIORS = {
    "diag": lambda dim=L: posteriors.MultivariateNormalDiag(dim),
    "tril": lambda dim=L: posteriors.MultivariateNormalTriL(dim),
    "eigen": lambda dim=L: posteriors.MultivariateNormalEigen(dim),
    "low_rank": lambda dim=L: posteriors.MultivariateNormalLowRank(dim, rank=1),
    "kumaraswamy": lambda dim=L: posteriors.Kumaraswamy(dim, low=-1.0, high=2.0),
    "deterministic": lambda dim=L: posteriors.Deterministic(dim),
    "iaf": lambda dim=L: flows.Flow(
        posteriors.MultivariateNormalDiag(dim), kind="iaf", num_layers=1, units=(8,), context_size=4
    ),
    "coupling": lambda dim=L: flows.Flow(
        posteriors.MultivariateNormalTriL(dim), kind="coupling", num_layers=2, units=(8,)
    ),
    "one_hot": lambda dim=L: posteriors.RelaxedOneHot(dim, temperature=Linear(4, 1.0, 0.5)),
    "joint": lambda dim=L: posteriors.JointPosterior(
        posteriors.MultivariateNormalDiag(1), posteriors.RelaxedOneHot(dim - 1, straight_through=True, detached_steps=1)
    ),
    "quantized": lambda dim=L: posteriors.VectorQuantized(dim, grid=(1, dim), num_codes=4),
    "finite_scalar": lambda dim=L: posteriors.FiniteScalar([5], grid=(1, dim)),
    "lookup_free": lambda dim=L: posteriors.LookupFree(1, grid=(1, dim)),
    "residual_codes": lambda dim=L: posteriors.Residual(
        posteriors.VectorQuantized(
            dim, (1, dim), 4, learned_by="gradient", start="kmeans", through="rotation", revive_below=0.1
        ),
        num_stages=2,
        dropout=0.5,
    ),
    "grouped_codes": lambda dim=L: posteriors.Grouped(posteriors.FiniteScalar([4], grid=(1, 1)), num_groups=dim),
}

PRIORS = {
    "standard_normal": lambda dim=L: priors.StandardNormal(dim),
    "uniform": lambda dim=L: priors.Uniform(dim, low=-1.0, high=2.0),
    "mixture": lambda dim=L: priors.NormalMixture(dim, num_components=2),
    "conditional": lambda dim=L: priors.ConditionalNormal(dim, Label(4), networks.mlp([4])),
    "vamp": lambda dim=L: priors.VampPrior(dim, num_pseudo_inputs=3),
    "real_nvp": lambda dim=L: priors.RealNVP(dim, num_layers=2, units=(8,)),
    "one_hot": lambda dim=L: priors.UniformOneHot(dim),
    "joint": lambda dim=L: priors.JointPrior(priors.StandardNormal(1), priors.UniformOneHot(dim - 1)),
    "codes": lambda dim=L: autoregressive(dim, (1, dim), 4),
    "codes_of_levels": lambda dim=L: priors.UniformCodes(dim, grid=(1, dim), num_codes=5),
    "codes_of_bits": lambda dim=L: priors.UniformCodes(dim, grid=(1, dim), num_codes=2),
    "codes_of_stages": lambda dim=L: autoregressive(dim, (1, dim), 4, depth=2),
    "codes_of_groups": lambda dim=L: autoregressive(dim, (1, 1), 4, depth=dim),
}
# Those over codes, and the sizes of which a condition can be given.
AUTOREGRESSIVE = {"codes": ((1, L), 4, None), "codes_of_stages": ((1, L), 4, 2), "codes_of_groups": ((1, 1), 4, L)}

# Posteriors of z that are not, or not all, real numbers.
CODES = ("quantized", "finite_scalar", "lookup_free", "residual_codes", "grouped_codes")
DISCRETE = ("one_hot", "joint", *CODES)
# What a posterior goes with where that is not the standard normal.
PRIOR_OF = {
    "kumaraswamy": "uniform",
    "one_hot": "one_hot",
    "joint": "joint",
    "quantized": "codes",
    "finite_scalar": "codes_of_levels",
    "lookup_free": "codes_of_bits",
    "residual_codes": "codes_of_stages",
    "grouped_codes": "codes_of_groups",
}
# Priors of what is not, or not all, real numbers.
DISCRETE_PRIORS = tuple(PRIOR_OF[name] for name in DISCRETE)

CONDITIONS = {
    "unconditional": lambda: None,
    "label": lambda: Label(4),
    "vector": lambda: Vector(2),
    "image": lambda: Image((3, 4, 1)),
}
# Those of a table: tests/test_conditions.py and tests/data/tables/test_conditions.py have them in models.
TABLE_CONDITIONS = {
    "columns": lambda: TableColumns({"height": "real", "income": "positive"}, place=[0.5, -1.0], scale=[0.3, 1.0]),
}

LIKELIHOODS = {
    "bernoulli": lambda shape=SHAPE: likelihoods.Bernoulli(shape),
    "continuous_bernoulli": lambda shape=SHAPE: likelihoods.ContinuousBernoulli(shape),
    "normal": lambda shape=SHAPE: likelihoods.Normal(shape),
    "normal_per_pixel": lambda shape=SHAPE: likelihoods.Normal(shape, scale="per_pixel"),
    "logistic": lambda shape=SHAPE, levels=16: likelihoods.DiscretizedLogistic(shape, levels),
    "logistic_mixture": lambda shape=SHAPE, levels=16: likelihoods.DiscretizedLogisticMixture(shape, levels, 2),
    "categorical": lambda shape=SHAPE, levels=4: likelihoods.Categorical(shape, levels),
    "binomial": lambda shape=SHAPE, levels=4: likelihoods.Binomial(shape, total_count=levels - 1),
    # Of one dimension, steps x channels: with it all networks and hierarchies are.
    "series": lambda shape=SERIES: likelihoods.Normal(shape),
}
# Those of p(x|z, c), which say what c must be: tests/likelihoods/test_given_means.py has them in all combinations.
GIVEN_LIKELIHOODS = {"given_means": lambda shape=SHAPE, levels=16: likelihoods.GivenMeans(shape, levels)}
# Those of rows of a table, whose columns are of all kinds: tests/likelihoods/test_mixed.py has them in models.
SCHEMA = {
    "height": "real",
    "colour": {"category": ["blue", "green", "red"]},
    "income": "positive",
    "visits": "count",
    "member": "binary",
    "width": "real",
}
TABLE_LIKELIHOODS = {"mixed": lambda: likelihoods.Mixed(SCHEMA)}
# Those of gray levels, whose number can be chosen.
GRAY = ("logistic", "logistic_mixture", "categorical", "binomial")

OBJECTIVES = {
    "elbo": lambda: objectives.ELBO(),
    "weighted": lambda: objectives.ELBO(kl_weight=Linear(4, 2.0, 1.0), free_bits=0.1, num_samples=2),
    "balanced": lambda: objectives.ELBO(kl_weight=Linear(40, 0.5, 1.0), kl_balancing=True),
    "capacity": lambda: objectives.Capacity(1.0, kl_weight=2.0),
    "iwae": lambda: objectives.ImportanceWeighted(2),
    "stl": lambda: objectives.ImportanceWeighted(2, estimator="stl"),
    "dreg": lambda: objectives.ImportanceWeighted(2, estimator="dreg"),
    "few": lambda: objectives.ImportanceWeighted(4, backward_samples=2),
    "reconstruction": lambda: objectives.Reconstruction(),
    "total_correlation": lambda: objectives.TotalCorrelation(32, 3.0, information_weight=0.5),
    "dip": lambda: objectives.DIP("II", 1.0, 1.0),
    "mmd": lambda: objectives.MMD(5.0, kl_weight=0.5, num_samples=2),
    "committed": lambda: objectives.CommittedELBO(0.25),
    "joint_capacity": lambda: objectives.JointCapacity(1.0, 0.5, kl_weight=2.0),
    "clustered": lambda: objectives.ClusteredELBO(Linear(4, 0.0, 2.0), 1.0),
    "perceptual": lambda: objectives.Perceptual(
        networks.FeatureNetwork([4, 3]), Linear(4, 0.0, 0.5), objectives.ELBO(num_samples=2)
    ),
    "cascade": lambda: objectives.InformationCascade(low=1.0, high=4.0, stage=2),
}
# Objectives of models of one kind, and the posterior of those. Their pairs with all else would be rows of their own:
# the tests of the models train them.
OF_ONE_KIND = {"committed": "quantized", "joint_capacity": "joint", "cascade": "diag", "clustered": "diag"}
# And the prior, where it is not that which the posterior goes with.
PRIOR_OF_KIND = {"clustered": "mixture"}

SCHEDULES = {
    "linear": lambda: Linear(4, 2.0, 1.0),
    "cyclical": lambda: Cyclical(8, ramp=0.25, start=0.5, end=2.0),
}

# Networks and objectives of images alone, and flows of maps.
OF_IMAGES = ("distorted", "ladder_iaf", "perceptual")

# Of so few units all may be dead from the start if they are ReLU.
SMOOTH = "silu"

NETWORKS = {
    "mlp": lambda sizes: networks.mlp(sizes),
    "gated_mlp": lambda sizes: networks.gated_mlp(sizes),
    "conv": lambda sizes: networks.conv(sizes, activation=SMOOTH),
    "residual": lambda sizes: networks.residual(sizes),
    "distorted": lambda sizes: networks.distorted(networks.mlp(sizes), shift=0.3, rotation=5.0, shear=0.1, zoom=0.05),
    "ladder_mlp": lambda sizes: networks.mlp(sizes),
    "ladder_conv": lambda sizes: networks.conv(sizes, activation=SMOOTH),
    "ladder_iaf": lambda sizes: networks.conv(sizes, activation=SMOOTH),
}

VAES = {
    "plain": lambda: vae(kv.VAE, gradient_skip_norm=100.0),
    "factor": lambda: vae(kv.FactorVAE, tc_weight=2.0, discriminator_units=(8, 4)),
    "gan": lambda: vae(kv.VAEGAN, filters=(4, 4), r1_weight=0.1, start=2),
    "cascade": lambda: vae(kv.CascadeVAE, num_classes=4, switch_on=3),
    "smooth_code": lambda: vae(kv.SmoothCodeVAE, "joint", smoothness_weight=Linear(4, 0.0, 3.0), radius=0.5),
    "smooth_clusters": lambda: vae(kv.SmoothCodeVAE, prior="mixture", smoothness_weight=2.0, radius=0.5),
}

# By the kinds of `keras_vae_cli.catalogue`: every part that a config can name has a line, or test_serialization fails.
TABLES = {
    "posterior": POSTERIORS,
    "prior": PRIORS,
    "likelihood": {**LIKELIHOODS, **GIVEN_LIKELIHOODS, **TABLE_LIKELIHOODS},
    "objective": OBJECTIVES,
    "network": {name: functools.partial(make, [4, 3]) for name, make in NETWORKS.items()},
    "schedule": SCHEDULES,
    "vae": VAES,
}


def autoregressive(dim: int, grid: tuple[int, int], num_codes: int, **options) -> priors.AutoregressiveCodes:
    """A small prior of codes."""
    return priors.AutoregressiveCodes(dim, grid, num_codes, units=8, num_layers=1, num_heads=2, **options)


def vae(kind: type[kv.VAE], posterior: str = "diag", prior: str | None = None, **options) -> kv.VAE:
    """A model of this kind, of the plainest parts."""
    made = kind(
        encoder("mlp", [8], POSTERIORS[posterior]()),
        decoder("mlp", [8], LIKELIHOODS["normal"]()),
        prior_of(posterior) if prior is None else PRIORS[prior](),
        seed=1,
        **options,
    )
    made.build()
    return made


def encoder(network: str, sizes: list[int], posterior, condition=None) -> kv.Encoder:
    """The encoder of a line of the table of networks."""
    made = LadderEncoder if is_ladder(network) else kv.Encoder
    return made(NETWORKS[network](sizes), posterior, condition)


def decoder(network: str, sizes: list[int], likelihood, condition=None) -> kv.Decoder:
    """The decoder of a line of the table of networks."""
    recipe = NETWORKS[network](sizes)
    if network == "ladder_iaf":
        flow = flows.Flow(posteriors.MultivariateNormalDiag(2), num_layers=1, units=(4,), context_size=2, kernel_size=3)
        return LadderDecoder(recipe, likelihood, 2, condition, posterior=flow, bidirectional=True)
    if is_ladder(network):
        return LadderDecoder(recipe, likelihood, 2, condition)
    return kv.Decoder(recipe, likelihood, condition)


def is_ladder(network: str) -> bool:
    """Whether a line of the table of networks makes a hierarchy, of levels between its stages."""
    return network.startswith("ladder")


def data(likelihood: likelihoods.Likelihood, n: int = 32) -> np.ndarray:
    """Images that `likelihood` accepts, [n, *event_shape]: bright and dark ones, with stripes, contrast and noise.

    Whether an image is bright is seen by every encoder from the start, and is worth far more nats to every likelihood
    than the bit that tells it costs: there is something to learn, and a collapsed posterior is no way out.
    """
    shape = likelihood.event_shape
    rng = np.random.default_rng(0)
    grid = np.linspace(0.0, 1.0, int(np.prod(shape))).reshape(shape)
    each = (n,) + (1,) * len(shape)
    sign = np.where(np.arange(n) % 2, 1.0, -1.0).reshape(each)
    contrast = 0.3 + 0.15 * rng.random(each)
    x = 0.5 + sign * contrast * (0.8 + 0.2 * np.sin(12.0 * grid)) + 0.05 * (rng.random((n, *shape)) - 0.5)
    x = np.clip(x, 0.0, 1.0)
    if likelihood.levels is not None:
        x = np.round(x * (likelihood.levels - 1)) / (likelihood.levels - 1)
    return x.astype("float32")


def rows(n: int = 64, seed: int = 0) -> np.ndarray:
    """Rows of the table `SCHEMA`, [n, 6], whose columns depend on one hidden number."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=n)
    columns = [
        100.0 + 20.0 * (hidden + 0.3 * rng.normal(size=n)),
        np.digitize(hidden + 0.3 * rng.normal(size=n), [-0.5, 0.5]),
        np.exp(8.0 + 0.5 * hidden + 0.2 * rng.normal(size=n)),
        rng.poisson(np.exp(2.0 + 0.5 * hidden)),
        hidden + 0.5 * rng.normal(size=n) > 0.0,
        rng.normal(size=n),
    ]
    return np.stack(columns, axis=1).astype("float32")


def prior_of(posterior: str) -> priors.Prior:
    """The plainest prior that a line of the table of posteriors goes with."""
    return PRIORS[PRIOR_OF.get(posterior, "standard_normal")]()


def prior(name: str, condition: Condition | None) -> priors.Prior:
    """A line of the table of priors, for a model with this condition: a conditional one takes it over."""
    made = PRIORS[name]()
    if name in AUTOREGRESSIVE and condition is not None:
        grid, num_codes, depth = AUTOREGRESSIVE[name]
        return autoregressive(L, grid, num_codes, depth=depth, condition=condition)
    return made if None in (condition, made.condition) else priors.ConditionalNormal(L, condition, networks.mlp([4]))


def given(condition: Condition | None, n: int = 32) -> np.ndarray | None:
    """Values of a condition for n examples, None for none."""
    if condition is None:
        return None
    if isinstance(condition, Label):
        return np.arange(n) % condition.num_classes
    return np.random.default_rng(1).random((n, *condition.shape)).astype("float32")


def pairwise(factors: dict[str, list[str]], allowed) -> list[dict[str, str]]:
    """Rows in which every allowed pair of values of every two factors occurs, greedily few, always the same.

    Args:
        factors: the values of each factor, the cheapest first: it is taken where the choice is free.
        allowed: whether a row, of all factors or of some of them, can be completed to one that works.
    """
    missing = {}
    for a, b in itertools.combinations(factors, 2):
        for u, v in itertools.product(factors[a], factors[b]):
            if allowed({a: u, b: v}):
                missing[a, u, b, v] = True
    rows = []
    while missing:
        a, u, b, v = next(iter(missing))
        row = {a: u, b: v}
        for name in factors:
            if name not in row:
                choices = [value for value in factors[name] if allowed({**row, name: value})]
                row[name] = max(choices, key=lambda value: _gain({**row, name: value}, missing))
        for pair in _pairs(row):
            missing.pop(pair, None)
        rows.append({name: row[name] for name in factors})
    return rows


def _gain(row, missing) -> int:
    return sum(pair in missing for pair in _pairs(row))


def _pairs(row):
    for a, b in itertools.permutations(row, 2):
        yield a, row[a], b, row[b]
