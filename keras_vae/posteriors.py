"""Posteriors q(z|x): Keras layers that project features to parameters and return TFP distributions.

A posterior of your own is a subclass with two methods:

    @kv.register
    class Laplace(posteriors.Posterior):
        @property
        def params_size(self):
            return 2 * self.latent_dim

        def distribution(self, params):
            loc, raw_scale = tf.split(params, 2, axis=-1)
            return tfd.Independent(tfd.Laplace(loc, posteriors.positive(raw_scale)), 1)
"""

import inspect
import math
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd
from tensorflow_probability import layers as tfpl

from keras_vae import orthogonal
from keras_vae.constraints import bounded, positive
from keras_vae.kumaraswamy import IntervalKumaraswamy
from keras_vae.latents import REAL, UNIT, Support, check_interval, check_latent_dim
from keras_vae.serialization import Serializable, register


class Posterior(Serializable, keras.layers.Layer):
    """A dense projection of the features, then a weightless `tfp.layers` head.

    Both compute in float32 whatever the dtype policy: in float16 the scale of a posterior overflows.

    Args:
        latent_dim: number L of latent dimensions.

    Attributes:
        has_marginals: whether the marginals of q(z|x) over single dimensions have a closed form.
        extras: names of the `Terms.extras` that its distributions bring.
    """

    support: Support = REAL
    has_marginals: bool = True
    extras: frozenset[str] = frozenset()

    def __init__(self, latent_dim: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.latent_dim = check_latent_dim(latent_dim)
        # The value that TFP takes of a distribution at every call is its point: the default would draw a sample.
        self.head = tfpl.DistributionLambda(self.distribution, convert_to_tensor_fn=self.point)

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """What z is made of, as (kind, size): the prior's must be the same."""
        return (("continuous", self.latent_dim),)

    def follow(self, step: keras.Variable) -> None:
        """Take schedules at `step`, the model's own counter, from now on; until then they stand at their beginning."""
        # Under a name that Keras does not track: the counter belongs to the model.
        self.__dict__["__step__"] = step

    @property
    def step(self) -> tf.Tensor:
        """The step at which schedules are taken, an int64 scalar."""
        step = vars(self).get("__step__")
        return tf.zeros([], tf.int64) if step is None else tf.convert_to_tensor(step)

    @property
    def params_size(self) -> int:
        """Number of parameters of the distribution for one example."""
        raise TypeError(f"{type(self).__name__} must define params_size.")

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """The distribution with parameters [B, params_size]: batch [B], event [L], float32."""
        raise TypeError(f"{type(self).__name__} must define distribution(params).")

    def point(self, q: tfd.Distribution) -> tf.Tensor:
        """One deterministic z for each example, [B, L]: the mean."""
        return q.mean()

    def build(self, input_shape: tuple) -> None:
        """Make the projection from features of shape [B, F]."""
        if self.built:
            return
        self.projection = keras.layers.Dense(int(self.params_size), dtype="float32", name="projection")
        self.projection.build(input_shape)

    def call(self, features: tf.Tensor) -> tfd.Distribution:
        """q(z|x) from features [B, F]."""
        return self.head(self.projection(features)).tensor_distribution


@register
class MultivariateNormalDiag(Posterior):
    """q(z|x) = N(z; mu, diag(sigma^2)), the posterior of Kingma and Welling 2014, "Auto-encoding variational Bayes".

    mu is linear in the features, sigma = softplus(linear) + 1e-5, shifted so that a projection of zero gives one.
    Against the standard normal, KL(q || p) = 1/2 sum_i (sigma_i^2 + mu_i^2 - 1 - log sigma_i^2) nats. Lectures often
    give 1/2 sum_i (1 + log sigma_i^2 - mu_i^2 - sigma_i^2) under that name: that is -KL, as it stands in the ELBO.
    """

    @property
    def params_size(self) -> int:
        """2 L: location and raw scale."""
        return 2 * self.latent_dim

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """N(mu, diag(sigma^2)) from [B, 2 L]."""
        loc, raw_scale = tf.split(params, 2, axis=-1)
        return tfd.MultivariateNormalDiag(loc, positive(raw_scale))


@register
class MultivariateNormalTriL(Posterior):
    """q(z|x) = N(z; mu, A A^T) with a full covariance, A lower triangular: its Cholesky factor.

    mu and A are linear in the features, but for the diagonal of A, a softplus as in `MultivariateNormalDiag`. The
    posterior of Kingma and Welling 2019, "An introduction to variational autoencoders", section 2.5.1.
    """

    @property
    def params_size(self) -> int:
        """L + L (L + 1) / 2: location and triangle."""
        return self.latent_dim + self.latent_dim * (self.latent_dim + 1) // 2

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """N(mu, A A^T) from [B, params_size]."""
        loc, raw = params[..., : self.latent_dim], params[..., self.latent_dim :]
        triangle = tfp.math.fill_triangular(raw)
        diagonal = positive(tf.linalg.diag_part(triangle))
        # Not by set_diag, whose gradient XLA cannot compile for batches of unknown size.
        scale_tril = triangle * (1.0 - tf.eye(self.latent_dim)) + tf.linalg.diag(diagonal)
        return tfd.MultivariateNormalTriL(loc, scale_tril)


@register
class MultivariateNormalEigen(Posterior):
    """q(z|x) = N(z; mu, Q D Q^T) with a full covariance in terms of its eigenvectors Q and eigenvalues D.

    z = mu + A eps, A = Q D^(1/2). Q is orthogonal by construction, a product of L - 1 Householder reflections
    H_i = I - 2 v_i v_i^T / |v_i|^2 whose axes v_i are zero above their i-th entry, one at it, and linear in the
    features below: the form in which LAPACK keeps the Q of a QR decomposition. It reaches every covariance, with as
    many numbers as a covariance has, L (L + 1) / 2. Reflections in posteriors are due to Tomczak and Welling 2016,
    "Improving variational auto-encoders using Householder flow".
    """

    @property
    def params_size(self) -> int:
        """2 L + L (L - 1) / 2: location, raw square roots of the eigenvalues, reflections."""
        return 2 * self.latent_dim + self.latent_dim * (self.latent_dim - 1) // 2

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """N(mu, Q D Q^T) from [B, params_size]."""
        size = self.latent_dim
        loc, raw_scale, raw_axes = params[..., :size], params[..., size : 2 * size], params[..., 2 * size :]
        scale = tf.linalg.LinearOperatorDiag(positive(raw_scale), is_non_singular=True)
        if size > 1:
            rotation = orthogonal.Orthogonal(orthogonal.householder_product(raw_axes))
            scale = tf.linalg.LinearOperatorComposition([rotation, scale], is_non_singular=True)
        return tfd.MultivariateNormalLinearOperator(loc, scale)


class LowRankUpdate(tf.linalg.LinearOperatorLowRankUpdate):
    """L + U U^T, whose I + U^T L^-1 U is not made by set_diag, which XLA cannot differentiate here."""

    def _make_capacitance(self, u: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
        return tf.eye(u.shape[-1]) + tf.matmul(v, self.base_operator.solve(u), transpose_a=True)


@register
class MultivariateNormalLowRank(Posterior):
    """q(z|x) = N(z; mu, A A^T), A = D^(1/2) (I + V V^T) D^(1/2): correlations along `rank` directions.

    (rank + 2) L parameters in place of the (L + 3) L / 2 of a full covariance. It is the *scale* A that is diagonal
    plus low rank, as in `tfd.MultivariateNormalDiagPlusLowRank`; the distribution whose *covariance* is (Rezende et al.
    2014, "Stochastic backpropagation and approximate inference", is of that kind) has no closed-form KL in TFP. The
    entries of V stay in [-10, 10], which keeps the factorisation of I + V^T V safe in float32.

    Args:
        latent_dim: L.
        rank: number of columns of V, at most L.

    Raises:
        ValueError: for a rank that is not an int from 1 to L.
    """

    MAX_FACTOR = 10.0

    def __init__(self, latent_dim: int, rank: int, **kwargs: Any) -> None:
        super().__init__(latent_dim, **kwargs)
        if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= latent_dim:
            raise ValueError(f"rank must be an int from 1 to latent_dim = {latent_dim}, not {rank!r}.")
        self.rank = rank

    @property
    def params_size(self) -> int:
        """(rank + 2) L: location, raw scale, factor."""
        return (self.rank + 2) * self.latent_dim

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """N(mu, A A^T) from [B, params_size]."""
        size = self.latent_dim
        loc, raw_scale, raw_factor = params[..., :size], params[..., size : 2 * size], params[..., 2 * size :]
        scale = positive(raw_scale)
        factor = tf.reshape(raw_factor, tf.concat([tf.shape(loc), [self.rank]], axis=0))
        factor = bounded(factor, self.MAX_FACTOR) * tf.sqrt(scale)[..., tf.newaxis]
        # Declared positive definite, which TFP's own class is not, it is factorised by Cholesky: XLA has no LU.
        base = tf.linalg.LinearOperatorDiag(scale, is_non_singular=True, is_positive_definite=True)
        operator = LowRankUpdate(
            base,
            u=factor,
            is_diag_update_positive=True,
            is_self_adjoint=True,
            is_positive_definite=True,
            is_non_singular=True,
        )
        return tfd.MultivariateNormalLinearOperator(loc, operator)


@register
class Kumaraswamy(Posterior):
    """Independent draws on [low, high], for priors on an interval: see `kumaraswamy.IntervalKumaraswamy`.

    The concentrations are 1 + exp(linear), within [1.01, 100] and [1, 10^6], and start at two: the density is bounded,
    and goes to the uniform one as both go to one. `point` is the mean. The KL to
    `priors.Uniform` has a closed form. Proposed for this by Nalisnick and Smyth 2017, "Stick-breaking variational
    autoencoders".

    Args:
        latent_dim: L.
        low: lower end of the interval, for all dimensions.
        high: upper end.

    Raises:
        ValueError: unless low < high, both finite.
    """

    support = UNIT
    MAX_LOG = (4.6, 13.8)  # of a - 1 and b - 1

    def __init__(self, latent_dim: int, low: float = 0.0, high: float = 1.0, **kwargs: Any) -> None:
        super().__init__(latent_dim, **kwargs)
        self.support = check_interval(low, high)

    @property
    def params_size(self) -> int:
        """2 L: raw logarithms of both concentrations."""
        return 2 * self.latent_dim

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """Independent Kumaraswamy variables from [B, 2 L]."""
        raw = tf.split(params, 2, axis=-1)
        a, b = (1.0 + tf.exp(bounded(r, limit)) for r, limit in zip(raw, self.MAX_LOG, strict=True))
        return tfd.Independent(IntervalKumaraswamy(a, b, *self.support), 1)


@register
class Deterministic(Posterior):
    """z = mu(x) without noise: the code of a plain autoencoder, for the objective `Reconstruction`.

    A point mass has no density: log q(z|x) does not exist, and KL(q || p) is infinite for every continuous prior. So
    `kl` is reported as zero and `elbo` is the log-likelihood of the reconstruction, no bound on log p(x).
    """

    has_marginals = False

    @property
    def params_size(self) -> int:
        """L: the location."""
        return self.latent_dim

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """The point mass at [B, L]."""
        return tfd.VectorDeterministic(params)


def fitting(support: Support) -> list[str]:
    """Constructor calls of the posteriors, the user's own included, whose support lies inside `support`."""
    calls = []
    for cls in _subclasses(Posterior):
        arguments = [name for name in inspect.signature(cls).parameters if name != "kwargs"]
        if {"low", "high"} <= set(arguments) and math.isfinite(support.high - support.low):
            calls.append(f"{cls.__name__}(latent_dim, low={support.low:g}, high={support.high:g})")
        elif support.contains(cls.support):
            calls.append(f"{cls.__name__}({', '.join(arguments)})")
    return calls


def _subclasses(cls: type[Posterior]) -> list[type[Posterior]]:
    children: list[type[Posterior]] = cls.__subclasses__()
    return [each for child in children for each in [child, *_subclasses(child)]]
