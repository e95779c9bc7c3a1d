"""The columns of a row of a table, as one distribution of independent variables of several kinds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae.data.tables.schema import Field
from keras_vae.distributions.scales import bounded_exp
from keras_vae.distributions.support import Support

# Of standard deviations, in those of the data: what is known better than to a hundredth is a tie of equal numbers.
SCALES = Support(0.01, 3.0)
# Of the number of failures r of negative binomials: a variance of mean + mean^2 / r.
COUNTS = Support(0.05, 1e4)
# Logarithms beyond are those of numbers that float32 does not hold.
LARGEST_LOG = 80.0
# Of the parameters of a column; a category has one for each value.
PARAMS = {"real": 2, "positive": 2, "count": 2, "binary": 1}
# What stands in the place of a value that is missing.
FILLERS = {"positive": 1.0}


def num_params(field: Field) -> int:
    """How many numbers the distribution of a column takes."""
    return len(field.values) if field.kind == "category" else PARAMS[field.kind]


class Piece(NamedTuple):
    """Columns of one kind, whose distribution has batch shape [..., n].

    Attributes:
        columns: their numbers.
        distribution: of each.
    """

    columns: list[int]
    distribution: tfd.Distribution


class Columns(tfd.Distribution):
    """log p(x) = sum_i log p_i(x_i), x [..., D], with one variable of its own kind for each column.

    In the units of the data, whose columns have a place m and a scale s: of numbers, mean and standard deviation; of
    positive ones, those of log x; of counts, those of log(1 + x). With the parameters a, b of a column:

    - real: Normal(m + s a, s exp(b));
    - positive: LogNormal(m + s a, s exp(b)), the parameters of its logarithm;
    - count: NegativeBinomial of mean exp(m + s a) and r = exp(b) failures, so a variance of mean + mean^2 / r;
    - binary: Bernoulli(sigmoid(a));
    - category: the number of one of K values, softmax(a_1 ... a_K).

    exp(b) is held inside of [0.01, 3], of counts [0.05, 10^4], by a smooth clip.

    The mean is that of each column; of a category it is the number of the likeliest value, which is its mode.

    Args:
        params: [..., P], those of the columns behind each other.
        place: [D].
        scale: [D].
        fields: the columns.
        missing: whether NaN stands for values that are missing: log p(x) is then the sum over the others.
    """

    def __init__(
        self,
        params: tf.Tensor,
        place: tf.Tensor,
        scale: tf.Tensor,
        fields: Sequence[Field],
        missing: bool = False,
    ) -> None:
        self.params = tf.convert_to_tensor(params)
        self.place, self.scale = tf.convert_to_tensor(place), tf.convert_to_tensor(scale)
        self.fields, self.missing = tuple(fields), missing
        super().__init__(
            dtype=self.params.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters={
                "params": self.params,
                "place": self.place,
                "scale": self.scale,
                "fields": self.fields,
                "missing": missing,
            },
        )

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict:
        # The others are the same in the whole batch.
        return {"params": tfp.util.ParameterProperties(event_ndims=1)}

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([len(self.fields)])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([len(self.fields)], tf.int32)

    def pieces(self) -> list[Piece]:
        """The distributions of which this one is made: one for all columns of a kind, and one for each category."""
        starts = np.cumsum([0, *map(num_params, self.fields)]).tolist()
        found = []
        for kind in ("real", "positive", "count", "binary"):
            columns = [at for at, field in enumerate(self.fields) if field.kind == kind]
            if columns:
                params = [_columns(self.params, [starts[at] + k for at in columns]) for k in range(PARAMS[kind])]
                place, scale = _columns(self.place, columns), _columns(self.scale, columns)
                found.append(Piece(columns, _of_kind(kind, params, place, scale)))
        for at, field in enumerate(self.fields):
            if field.kind == "category":
                logits = self.params[..., tf.newaxis, starts[at] : starts[at + 1]]
                found.append(Piece([at], tfd.Categorical(logits=logits, dtype=self.dtype)))
        return found

    def nearly_likeliest(self, share: float) -> tf.Tensor:
        """Which values of each category have at least this share of the likeliest one's probability, [..., D, K].

        K is the largest number of values; of a column of another kind, none of them.
        """
        most = max((len(field.values) for field in self.fields if field.kind == "category"), default=1)
        empty = tf.zeros([*self.params.shape[:-1], 1, most], tf.bool)
        parts = [empty] * len(self.fields)
        for columns, p in self.pieces():
            if _is_category(p):
                probabilities = p.probs_parameter()
                found = probabilities >= share * tf.reduce_max(probabilities, axis=-1, keepdims=True)
                parts[columns[0]] = tf.concat([found, empty[..., found.shape[-1] :]], axis=-1)
        return tf.concat(parts, axis=-2)

    def log_probs(self, x: tf.Tensor) -> tf.Tensor:
        """log p_i(x_i) of each column, [..., D]; 0 where values are missing."""
        is_there = ~tf.math.is_nan(x)
        if self.missing:
            fillers = tf.constant([FILLERS.get(field.kind, 0.0) for field in self.fields], x.dtype)
            # Of a NaN in the branch that is not taken, the gradient would be NaN all the same.
            x = tf.where(is_there, x, fillers * tf.ones_like(x))
        # The number of no category would be an index outside of a table, and fail the other rows as well.
        is_category = tf.constant([field.kind == "category" for field in self.fields])
        highest = [len(field.values) - 1.0 if field.kind == "category" else 0.0 for field in self.fields]
        x = tf.where(is_category, tf.clip_by_value(x, 0.0, tf.constant(highest, x.dtype)), x)
        found = self._together([(columns, p.log_prob(_columns(x, columns))) for columns, p in self.pieces()])
        return tf.where(is_there, found, tf.zeros_like(found)) if self.missing else found

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(self.log_probs(x), axis=-1)

    def _sample_n(self, n: int, seed: Any) -> tf.Tensor:
        pieces = self.pieces()
        seeds = tfp.random.split_seed(seed, n=len(pieces), salt="Columns")
        drawn = [(columns, p.sample(n, seed=own)) for (columns, p), own in zip(pieces, tf.unstack(seeds), strict=True)]
        return self._together(drawn)

    def _mean(self) -> tf.Tensor:
        return self._together([(columns, p.mode() if _is_category(p) else p.mean()) for columns, p in self.pieces()])

    def _mode(self) -> tf.Tensor:
        return self._together([(columns, p.mode()) for columns, p in self.pieces()])

    def _together(self, parts: Sequence[tuple[list[int], tf.Tensor]]) -> tf.Tensor:
        """Numbers of pieces, [..., n] each, in the order of the columns, [..., D]."""
        order = np.argsort([at for columns, _ in parts for at in columns]).tolist()
        joined = parts[0][1] if len(parts) == 1 else tf.concat([values for _, values in parts], axis=-1)
        return _columns(joined, order)


def _is_category(p: tfd.Distribution) -> bool:
    return isinstance(p, tfd.Categorical)


def _of_kind(kind: str, params: list[tf.Tensor], place: tf.Tensor, scale: tf.Tensor) -> tfd.Distribution:
    if kind == "binary":
        return tfd.Bernoulli(logits=params[0], dtype=params[0].dtype)
    loc = place + scale * params[0]
    if kind == "real":
        return tfd.Normal(loc, scale * bounded_exp(params[1], SCALES))
    loc = tf.clip_by_value(loc, -LARGEST_LOG, LARGEST_LOG)
    if kind == "positive":
        return tfd.LogNormal(loc, scale * bounded_exp(params[1], SCALES))
    failures = bounded_exp(params[1], COUNTS)
    return tfd.NegativeBinomial(failures, logits=loc - tf.math.log(failures))


def _columns(x: tf.Tensor, columns: Sequence[int]) -> tf.Tensor:
    """Some of the last axis; all of them in their order are no operation."""
    # In a graph of any number of draws TFP may not say how many columns there are.
    if x.shape[-1] is not None and list(columns) == list(range(x.shape[-1])):
        return x
    first, last = columns[0], columns[-1]
    if list(columns) == list(range(first, last + 1)):
        return x[..., first : last + 1]
    return tf.gather(x, list(columns), axis=-1)
