"""What all posteriors of codes share: a projection to a grid of vectors, and a map from vectors to codes.

    posterior = posteriors.Residual(posteriors.VectorQuantized(4 * 4 * 8, (4, 4), num_codes=64), num_stages=4)
    prior = priors.AutoregressiveCodes.of(posterior)
    objective = objectives.CommittedELBO()
    vae.encode(x).indices                        # [B, 16, 4]
    vae.decode(posterior.lookup(indices))

A code is a discrete variable, and q(k|x) a certain one: KL(q || p) is -log p(k), in nats, and `elbo` a bound on
log p(x) like that of any model. Importance weights are all equal then: no number of samples comes nearer to log p(x).
"""

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import seeds
from keras_vae.arguments import check_grid
from keras_vae.distributions.codes.codebooks import Codebook
from keras_vae.distributions.codes.quantized import Quantized
from keras_vae.distributions.support import REAL
from keras_vae.distributions.tails.tail import NONE
from keras_vae.posteriors.codes.attraction import Attraction, attracted
from keras_vae.posteriors.posterior import Posterior


class Coded(NamedTuple):
    """What vectors [B, N, D] were made of.

    Attributes:
        indices: int32 [B, N], or [B, N, depth].
        values: the codes, [B, N, D], without a gradient.
        commitment: squared distance to the codes, [B, N], which draws the vectors to them.
        pull: [B, N, D], where to the vectors are drawn by rare codes, if these do it; see `Attraction`.
    """

    indices: tf.Tensor
    values: tf.Tensor
    commitment: tf.Tensor
    pull: tf.Tensor | None = None


class Quantizer(Posterior):
    """q(z|x): each of the grid's vectors of features is replaced by a code of D = L / (h w) numbers.

    The F features become D at each place of the grid: by a 1x1 convolution if they are a map of its height and width,
    and else by a dense layer, from all of them. A model that was saved before this was so, revision 1, keeps a 1x1
    convolution wherever F is a multiple of height * width: the units of a dense layer were dealt out to the places, and
    a place whose few units were dead had one code for all examples. Nor does it have an `attraction`.

    A kind of its own defines `codes`, `code`, and what it needs of `prepare`, `through` and `build_codes`.

    Args:
        grid: (height, width).
        code_dim: D.
        num_codes: S.
        depth: indices of one vector; None for one, and no axis for them.

    Attributes:
        stage_scale: how much finer the codes of the next stage are, as a factor on them; see `Residual`.
        stage_offset: what is added to the codes of all stages but the first, before they are scaled.
        attraction: what draws features to rare codes, of kinds whose codes stand still.
        stream: of random numbers: those of two parts of one posterior must differ. A stage that starts at the features
            at which the one before it started would have nothing left to stand for.

    Raises:
        ValueError: for a grid that is none.
    """

    support, tails = REAL, NONE
    is_certain = True
    has_marginals = False
    num_codes: int
    extras = frozenset({"commitment", "usage"})
    stage_scale: Any = 1.0
    stage_offset: Any = 0.0
    revision = 2
    stream: int = 0
    attraction: Attraction | None = None

    def __init__(self, grid: Any, code_dim: int, num_codes: int, depth: int | None = None, **kwargs: Any) -> None:
        checked, _ = check_grid(grid)
        super().__init__(math.prod(checked) * code_dim, **kwargs)
        self.grid, self.code_dim, self.num_codes = checked, code_dim, num_codes
        self.depth = depth or 1
        self.indices_shape = self.grid if depth is None else (*self.grid, depth)

    @property
    def codes(self) -> Codebook:
        """The codebook as it is now; nothing that is made of it has a gradient."""
        raise TypeError(f"{type(self).__name__} must define codes.")

    def leaves(self) -> list[Any]:
        """The quantisers that it is made of; itself unless it is composed."""
        # No property: Keras saves what it finds in those of a layer.
        return [self]

    @property
    def usage_shape(self) -> tuple[int, int]:  # type: ignore[override]
        """(depth, S)."""
        return self.depth, self.num_codes

    @property
    def sizes(self) -> dict[str, Any]:  # type: ignore[override]
        """Those of a prior over its codes."""
        depth = {"depth": self.depth} if self.indices_shape[2:] else {}
        return {"latent_dim": self.latent_dim, "grid": self.grid, "num_codes": self.num_codes, **depth}

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """A grid of codes."""
        return blocks(self.grid, self.num_codes, self.latent_dim, self.indices_shape[2:])

    @property
    def params_size(self) -> int:
        """D for each place of the grid, or L."""
        return self.code_dim if self.is_map else self.latent_dim

    def build(self, input_shape: tuple) -> None:
        """Make the projection and what the codes need, for features [B, F]."""
        if self.built:
            return
        places = math.prod(self.grid)
        shape = self.feature_shape
        if shape is None or self.revision == 1:
            self.is_map = input_shape[-1] % places == 0
        else:
            self.is_map = shape[:-1] == self.grid
        size = input_shape[-1] // places if self.is_map else input_shape[-1]
        # A step of Adam moves a vector by all of its features. Codes follow slower ones better.
        self.slowness = 1.0 if self.is_map or self.revision == 1 else places**0.5
        start = keras.initializers.VarianceScaling(self.slowness**2, "fan_avg", "uniform")
        self.projection = keras.layers.Dense(self.params_size, kernel_initializer=start, dtype="float32")
        self.projection.build((None, size))
        self.build_preparation()
        self.build_codes()

    def get_build_config(self) -> dict[str, Any] | None:
        """The shape of the features before they were flattened, too."""
        config = super().get_build_config()
        return config and {**config, "feature_shape": self.feature_shape}

    def build_from_config(self, config: dict[str, Any] | None) -> None:
        """With features of the shape that `config` names."""
        shape = config and config.get("feature_shape")
        self.feature_shape = tuple(shape) if shape else None
        super().build_from_config(config)

    def build_preparation(self) -> None:
        """Make the weights of `prepare`, if there are any."""

    def build_codes(self) -> None:
        """Make the weights of the codes, if there are any."""

    def prepare(self, vectors: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Vectors [B, N, D] as they are quantised: bounded, or on a sphere, where the codes are."""
        return vectors

    def code(self, vectors: tf.Tensor, training: bool) -> Coded:
        """The codes of prepared vectors [B, N, D]; in training, codes that are learned move first."""
        raise TypeError(f"{type(self).__name__} must define code(vectors, training).")

    def draw(self, vectors: tf.Tensor, indices: tf.Tensor, training: bool) -> tf.Tensor | None:
        """Where to rare codes draw vectors [B, N, D] of indices [B, N], [B, N, D]; None where they draw none."""
        if self.attraction is None or not (training and self.trainable):
            return None
        return self.attraction(vectors, indices, seeds.fold_in(0, self.step, self.stream))

    def through(self, vectors: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """The values with a gradient for the vectors: the values' own, straight through."""
        return vectors + tf.stop_gradient(values - vectors)

    def call(self, features: tf.Tensor, training: bool | None = None) -> tfd.Distribution:
        """q(z|x) from features [B, F]."""
        places = math.prod(self.grid)
        shaped = tf.reshape(features, [-1, places, features.shape[-1] // places]) if self.is_map else features
        vectors = self.prepare(
            tf.reshape(self.projection(shaped / self.slowness), [-1, places, self.code_dim]), bool(training)
        )
        coded = self.code(vectors, bool(training))
        pulled = vectors if coded.pull is None else attracted(vectors, coded.pull)
        through = self.through(pulled, coded.values) if training else None
        commitment = tf.reduce_sum(coded.commitment, axis=-1)
        return Quantized(vectors, coded.indices, self.codes, bool(training), through, commitment)

    def lookup(self, indices: Any) -> tf.Tensor:
        """z [..., L] for indices [..., height, width] or [..., N], with a last axis of `depth` where there is one: what
        `VAE.decode` takes.

        Raises:
            ValueError: for another shape, or indices that are no codes; inside a graph these stand for the nearest.
        """
        indices = tf.convert_to_tensor(indices)
        if not indices.dtype.is_integer:
            raise ValueError(f"Indices are whole numbers, not {indices.dtype.name}.")
        places, tail = math.prod(self.grid), self.indices_shape[2:]
        shape, lead = tuple(indices.shape), None
        for form in (self.indices_shape, (places, *tail)):
            if lead is None and shape[max(len(shape) - len(form), 0) :] == form:
                lead = shape[: len(shape) - len(form)]
        if lead is None:
            wanted = ", ".join(map(str, self.indices_shape))
            raise ValueError(f"Indices must be [..., {wanted}], not {shape}.")
        if tf.executing_eagerly() and tf.reduce_any((indices < 0) | (indices >= self.num_codes)):
            raise ValueError(f"Indices of {self.num_codes} codes are 0 to {self.num_codes - 1}; these are not.")
        indices = tf.cast(tf.clip_by_value(indices, 0, self.num_codes - 1), tf.int32)
        known = [-1 if n is None else n for n in lead]
        z = self.codes.lookup(tf.reshape(indices, [*known, places, *tail]))
        return tf.reshape(z, [*known, self.latent_dim])

    def point(self, q: tfd.Distribution) -> tf.Tensor:
        """The codes, [B, L]."""
        return q.mode()


def blocks(
    grid: tuple[int, int], num_codes: int, latent_dim: int, tail: tuple[int, ...] = ()
) -> tuple[tuple[str, int], ...]:
    """What z is made of, for posterior and prior alike."""
    return ((f"{' x '.join(map(str, (*grid, *tail)))} of {num_codes} codes:", latent_dim),)
