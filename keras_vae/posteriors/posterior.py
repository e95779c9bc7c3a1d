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
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import schedules
from keras_vae.arguments import check_count
from keras_vae.distributions.head import Head
from keras_vae.distributions.support import REAL, Support
from keras_vae.distributions.tails.lookup import UNKNOWN, LookedUp, Region, looked_up, undeclare
from keras_vae.distributions.tails.tail import Tails
from keras_vae.posteriors.points import centre
from keras_vae.serialization import Serializable, register

# Where tails are looked up, raw parameters reach from minus this to this; of more parameters they are not.
FAR, LOOKED_AT = 10.0, 2**20


@register
class ScaledColumns(keras.initializers.Initializer):
    """The uniform start of Glorot and Bengio 2010, its columns multiplied by given factors.

    Args:
        factors: one for each column of the kernel, or what gives them: it is asked when a kernel is made, and not
            before, for of a layer whose sizes are only looked at they would be as large as memory.
        fan_out: number of columns that Glorot's formula counts; all of them unless given.
    """

    def __init__(self, factors: Any, fan_out: int | None = None) -> None:
        self.factors, self.fan_out = factors, fan_out
        self.glorot = keras.initializers.GlorotUniform()

    def _given(self) -> np.ndarray:
        # A model may be built while a function of it is traced, where TensorFlow would make no numbers.
        with tf.init_scope():
            return np.asarray(self.factors() if callable(self.factors) else self.factors, "float32")

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """A kernel [inputs, columns]."""
        inputs, columns = shape
        counted = math.sqrt((inputs + columns) / (inputs + (self.fan_out or columns)))
        return self.glorot(shape, dtype) * (counted * self._given())

    def get_config(self) -> dict[str, Any]:
        """The factors, and how many columns count."""
        return {"factors": self._given().tolist(), "fan_out": self.fan_out}


class Posterior(Serializable, keras.layers.Layer):
    """A dense projection of the features, then a weightless `tfp.layers` head.

    Both compute in float32 whatever the dtype policy: in float16 the scale of a posterior overflows.

    Args:
        latent_dim: number L of latent dimensions.

    What a posterior is, it declares; nobody asks for its class.

    Attributes:
        support: of every component of z; of several blocks, the smallest interval that holds all. A class with a
            `distribution` of its own that declares none has that of the distribution, as far as TFP knows it.
        tails: how fast log q(z|x) falls at both ends, at its heaviest; None where nobody knows. Looked up likewise.
        has_density: whether log q(z|x) exists, as a density or as the probability of a code. Without one there is no
            KL and no bound on log p(x): a plain autoencoder.
        is_certain: whether q(z|x) is a point mass, so that all draws are equal.
        has_marginals: whether the marginals of q(z|x) over single dimensions have a closed form.
        num_codes: size of the codebook of which z is made, None if there is none. With one, its distributions have
            `indices`, int32 of as many numbers as `indices_shape` has, of a grid [B, height * width, ...], and `lookup`
            gives z for indices.
        indices_shape: shape of the indices of one example.
        remedy: what helps where few of the codes come into use, a sentence for `evaluation.diagnose`.
        usage_shape: (depth, S), where depth indices of S codes make a vector and `extras` have their `usage`, so that
            `fit` logs how many are used; None where nobody counts.
        sizes: arguments of a prior over its codes, by name: `latent_dim`, `grid`, `num_codes`, `depth`; or none.
        extras: names of the `Terms.extras` that its distributions bring.
        is_of_maps: whether it is a distribution over maps, of features [B, H, W, F] with events [H, W, L], for a level
            of a hierarchy. Any other one is, on a map, that of each place by itself.
        feature_shape: of the features before they were flattened, (H, W, C) of a map, as an `Encoder` tells it before
            it builds the posterior; None if nobody did.
        adds_precisions: whether its distributions have a diagonal Gaussian, itself or as a base, whose precisions those
            of a prior can be added to: `LadderDecoder(..., bidirectional=True)`.
        coded_as: how `keras_vae.compression` draws z by bits: "normal", where its distributions have independent normal
            components with `mean` and `stddev`; None where it cannot.
        revision: of what the numbers of the projection mean; a loaded posterior keeps the one that it was saved with.
    """

    support: Any = LookedUp(lambda region: region.support or REAL)
    tails: Any = LookedUp(lambda region: region.heaviest)
    has_density: bool = True
    is_certain: bool = False
    has_marginals: bool = True
    num_codes: int | None = None
    indices_shape: tuple[int, ...] = ()
    usage_shape: tuple[int, int] | None = None
    sizes: Mapping[str, Any] = MappingProxyType({})
    remedy: str = ""
    extras: frozenset[str] = frozenset()
    is_of_maps: bool = False
    feature_shape: tuple[int, ...] | None = None
    adds_precisions: bool = False
    coded_as: str | None = None
    revision: int = 1
    # Of what is saved without saying: see `training.checkpoint_state.set_meanings`.
    before: ClassVar[Mapping[str, Any]] = {"revision": 1}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        undeclare(cls, Posterior)

    def __init__(self, latent_dim: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.latent_dim = check_count("latent_dim", latent_dim)
        # The value that TFP takes of a distribution at every call is its point: the default would draw a sample.
        self.head = Head(self.distribution, convert_to_tensor_fn=self.point)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, and the revision if there was one before it."""
        return super().get_config() | ({"revision": self.revision} if self.revision > 1 else {})

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A posterior with the arguments of `config`, whose weights mean what they did when it was saved.

        Raises:
            ValueError: for a revision that this version does not know.
        """
        arguments = dict(config)
        revision = arguments.pop("revision", 1)
        if revision not in range(1, cls.revision + 1):
            raise ValueError(
                f"{cls.__name__} was saved by another version of keras_vae, in which its weights mean something else "
                f"(revision {revision!r}; this version knows {cls.revision}). Load it with that version."
            )
        posterior = super().from_config(arguments)
        posterior.revision = revision
        return posterior

    def of_size(self, latent_dim: int) -> Self:
        """A new one of the same kind, with as many dimensions."""
        return self._like(latent_dim=latent_dim)

    def _like(self, **changed: Any) -> Self:
        """A new one with the same arguments, but for these and its name."""
        arguments = {name: value for name, value in vars(self)["__arguments__"].items() if name != "name"}
        made = type(self)(**{**arguments, **changed})
        made.revision = self.revision
        return made

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """What z is made of, as (kind, size): the prior's must be the same."""
        return (("continuous", self.latent_dim),)

    @property
    def supports(self) -> tuple[Support, ...]:
        """`support` of each block: it must lie inside that of the prior's."""
        return (self.support,) * len(self.blocks)

    @property
    def tails_of_blocks(self) -> tuple[Tails | None, ...]:
        """`tails` of each block."""
        return (self.tails,) * len(self.blocks)

    @property
    def region(self) -> Region:
        """Where TFP says that the distribution lies, and how its tails fall, for some parameters that are far apart."""
        size = int(self.params_size)
        if size > LOOKED_AT:
            return UNKNOWN
        spread = np.random.default_rng(0).normal(scale=FAR / 3, size=(4, size))
        params = np.concatenate([np.full((1, size), value) for value in (0.0, -FAR, FAR)] + [spread])
        return looked_up(self, lambda: self.distribution(tf.constant(params, tf.float32)))

    @property
    def densities(self) -> tuple[bool, ...]:
        """`has_density` of each block."""
        return (self.has_density,)

    @property
    def certainties(self) -> tuple[bool, ...]:
        """`is_certain` of each block."""
        return (self.is_certain,)

    @property
    def codebook(self) -> tf.Tensor:
        """The codes, [num_codes, D].

        Raises:
            TypeError: for a posterior without a codebook.
        """
        raise TypeError(f"{type(self).__name__} has no codebook.")

    def lookup(self, indices: Any) -> tf.Tensor:
        """z [..., L] for indices [..., *indices_shape] of a codebook; indices that are no codes stand for the nearest.

        Raises:
            TypeError: for a posterior without a codebook.
        """
        raise TypeError(f"{type(self).__name__} has no codebook.")

    def follow(self, step: keras.Variable) -> None:
        """Take schedules at `step`, the model's own counter, from now on; until then they stand at their beginning."""
        # Under a name that Keras does not track: the counter belongs to the model.
        self.__dict__["__step__"] = step
        schedules.adopt(self)

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

    @property
    def initial_factors(self) -> np.ndarray:
        """Factors on the random start of the projection, one for each parameter, [params_size]; ones if not told.

        A parameter beyond those of a diagonal posterior adds noise to z that the decoder must first unlearn: it starts
        at zero, or near it where its gradient vanishes there.
        """
        return np.ones(int(self.params_size), "float32")

    def point(self, q: tfd.Distribution) -> tf.Tensor:
        """One deterministic z for each example, [B, L]: the mean, or where there is none what `points.centre` finds."""
        return centre(q, self.tails is None or self.tails.have_mean(self.support))

    def build(self, input_shape: tuple) -> None:
        """Make the projection from features of shape [B, F]."""
        if self.built:
            return
        self.projection = keras.layers.Dense(
            int(self.params_size),
            # Further columns must not make the start of location and scale smaller than it is of a diagonal posterior:
            # codes that start close together are slow to part.
            kernel_initializer=ScaledColumns(
                lambda: self.initial_factors, min(int(self.params_size), 2 * self.latent_dim)
            ),
            dtype="float32",
            name="projection",
        )
        self.projection.build(input_shape)

    def call(self, features: tf.Tensor) -> tfd.Distribution:
        """q(z|x) from features [B, F]."""
        return self.head(self.projection(features)).tensor_distribution


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
