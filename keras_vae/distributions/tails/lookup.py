"""Support and tails of TFP's distributions, looked up by class, through what wraps them."""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.support import REAL, Support
from keras_vae.distributions.tails.tail import EXPONENTIAL, LOG_NORMAL, POLYNOMIAL, POWER, Tail, Tails

# Names of the classes of TFP that stand above those that can be passed through graphs and those that cannot.
MIXTURE, TRANSFORMED = "_MixtureSameFamily", "_TransformedDistribution"
# The two tails of a univariate distribution, or of every component of a vector; the numbers are arrays of its batch.
Rule = Callable[[Any], tuple[Tail, Tail]]
FLAT, LOG = Tail(POLYNOMIAL, 1.0), Tail(LOG_NORMAL)


def _tail(kind: Any, exponent: Any, rate: Any) -> Tail:
    """Of arrays."""
    return Tail(kind, exponent, rate)


def _poly(moments: Any) -> Tail:
    return Tail(POLYNOMIAL, moments)


def _power(exponent: Any, rate: Any = 1.0) -> Tail:
    return Tail(POWER, exponent, rate)


def _exponential(rate: Any) -> Tail:
    return Tail(EXPONENTIAL, 0.0, rate)


def _or_tiny(value: Any) -> np.ndarray:
    return np.where(_number(value) == 0, 1e-30, _number(value))


def _both(tail: Callable[[Any], Tail]) -> Rule:
    return lambda d: (tail(d), tail(d))


def _extreme_value(d: Any) -> tuple[Tail, Tail]:
    """Gumbel for a concentration c of 0, Frechet above, reversed Weibull below."""
    c, scale = _number(d.concentration), _number(d.scale)
    size = np.maximum(np.abs(c), 1e-30)
    low = _tail(np.where(c == 0, EXPONENTIAL, POWER), np.where(c == 0, 0.0, 1 / size), np.where(c == 0, 1 / scale, 1.0))
    high = _tail(np.where(c == 0, POWER, POLYNOMIAL), np.where(c == 0, 1.0, 1 / size), 1 / scale)
    return low, high


def _cut(outside: Tail) -> Rule:
    """A distribution cut at `low` and `high`, one of which may be infinite."""

    def tails(d: Any) -> tuple[Tail, Tail]:
        return tuple(outside if np.isinf(_number(end)).all() else FLAT for end in (d.low, d.high))  # type: ignore[return-value]

    return tails


def _triangle(d: Any) -> tuple[Tail, Tail]:
    low, peak, high = (_number(end) for end in (d.low, d.peak, d.high))
    return _poly(np.where(peak == low, 1.0, 2.0)), _poly(np.where(peak == high, 1.0, 2.0))


def _pert(d: Any) -> tuple[Tail, Tail]:
    low, peak, high, t = (_number(n) for n in (d.low, d.peak, d.high, d.temperature))
    return _poly(1 + t * (peak - low) / (high - low)), _poly(1 + t * (high - peak) / (high - low))


def _sinh_arcsinh(d: Any) -> tuple[Tail, Tail]:
    # Of any other base than the normal nothing is known. The rate, which only a tail exp(-r |z|) needs, is not either.
    if type(d.distribution) is not tfd.Normal:
        raise NotImplementedError("tails of SinhArcsinh over another base than Normal")
    return _power(2.0 / _number(d.tailweight), 0.0), _power(2.0 / _number(d.tailweight), 0.0)


RULES: dict[str, Rule] = {
    "Beta": lambda d: (_poly(d.concentration1), _poly(d.concentration0)),
    "BetaQuotient": lambda d: (_poly(d.concentration1_numerator), _poly(d.concentration1_denominator)),
    "Cauchy": _both(lambda d: _poly(1.0)),
    "Chi": lambda d: (_poly(d.df), _power(2.0)),
    "Chi2": lambda d: (_poly(0.5 * _number(d.df)), _power(1.0, 0.5)),
    "ContinuousBernoulli": _both(lambda d: FLAT),
    "DoublesidedMaxwell": _both(lambda d: _power(2.0)),
    "ExpGamma": lambda d: (_power(1.0, d.concentration), _exponential(1.0)),
    "ExpInverseGamma": lambda d: (_exponential(1.0), _power(1.0, d.concentration)),
    "Exponential": lambda d: (FLAT, _power(1.0, d.rate)),
    "ExponentiallyModifiedGaussian": lambda d: (_power(2.0), _power(1.0, d.rate)),
    "Gamma": lambda d: (_poly(d.concentration), _power(1.0, _rate(d))),
    "GeneralizedExtremeValue": _extreme_value,
    "GeneralizedNormal": _both(lambda d: _power(d.power, _number(d.scale) ** -_number(d.power))),
    "GeneralizedPareto": lambda d: (
        FLAT,
        _tail(
            np.where(_number(d.concentration) == 0, POWER, POLYNOMIAL),
            np.where(_number(d.concentration) == 0, 1.0, 1 / np.maximum(np.abs(_number(d.concentration)), 1e-30)),
            1 / _number(d.scale),
        ),
    ),
    "Gumbel": lambda d: (_exponential(1 / _number(d.scale)), _power(1.0, 1 / _number(d.scale))),
    "HalfCauchy": lambda d: (FLAT, _poly(1.0)),
    "HalfNormal": lambda d: (FLAT, _power(2.0)),
    "HalfStudentT": lambda d: (FLAT, _poly(d.df)),
    "Horseshoe": _both(lambda d: _poly(1.0)),
    "InverseGamma": lambda d: (_power(1.0, d.scale), _poly(d.concentration)),
    "InverseGaussian": lambda d: (
        _power(1.0, 0.5 * _number(d.concentration)),
        _power(1.0, 0.5 * _number(d.concentration) / _number(d.loc) ** 2),
    ),
    "JohnsonSU": _both(lambda d: LOG),
    "Kumaraswamy": lambda d: (_poly(d.concentration1), _poly(d.concentration0)),
    "LambertWNormal": _both(lambda d: _poly(1 / np.maximum(_number(d.tailweight), 1e-30))),
    "Laplace": _both(lambda d: _power(1.0, 1 / _number(d.scale))),
    "LogLogistic": _both(lambda d: _poly(1 / _number(d.scale))),
    "LogNormal": _both(lambda d: LOG),
    "Logistic": _both(lambda d: _power(1.0, 1 / _number(d.scale))),
    "LogitNormal": _both(lambda d: LOG),
    "Moyal": lambda d: (_exponential(1 / _number(d.scale)), _power(1.0, 0.5 / _number(d.scale))),
    "MultivariateNormalLinearOperator": _both(lambda d: _power(2.0)),
    "MultivariateNormalPrecisionFactorLinearOperator": _both(lambda d: _power(2.0)),
    "MultivariateStudentTLinearOperator": _both(lambda d: _poly(d.df)),
    "NoncentralChi2": lambda d: (_poly(0.5 * _number(d.df)), _power(1.0, 0.5)),
    "Normal": _both(lambda d: _power(2.0)),
    "NormalInverseGaussian": lambda d: (
        _power(1.0, _number(d.tailweight) + _number(d.skewness)),
        _power(1.0, _number(d.tailweight) - _number(d.skewness)),
    ),
    "PERT": _pert,
    "Pareto": lambda d: (FLAT, _poly(d.concentration)),
    "RelaxedBernoulli": _both(lambda d: _poly(d.temperature)),
    "SigmoidBeta": lambda d: (_power(1.0, d.concentration1), _power(1.0, d.concentration0)),
    "SinhArcsinh": _sinh_arcsinh,
    "StudentT": _both(lambda d: _poly(d.df)),
    "Triangular": _triangle,
    "TruncatedCauchy": _cut(_poly(1.0)),
    "TruncatedNormal": _cut(_power(2.0)),
    "TwoPieceNormal": _both(lambda d: _power(2.0)),
    "TwoPieceStudentT": _both(lambda d: _poly(d.df)),
    "Uniform": _both(lambda d: FLAT),
    "VonMises": _both(lambda d: FLAT),
    "Weibull": lambda d: (
        _poly(d.concentration),
        _power(d.concentration, _number(d.scale) ** -_number(d.concentration)),
    ),
}


def _of_extremes(d: Any) -> tuple[np.ndarray, np.ndarray]:
    c, edge = _number(d.concentration), _number(d.loc) - _number(d.scale) / _or_tiny(d.concentration)
    return np.where(c > 0, edge, -np.inf), np.where(c < 0, edge, np.inf)


def _of_pareto(d: Any) -> tuple[np.ndarray, np.ndarray]:
    c = _number(d.concentration)
    return _number(d.loc), np.where(c < 0, _number(d.loc) - _number(d.scale) / _or_tiny(d.concentration), np.inf)


# The supports that TFP's own bijectors do not reach, or leave, or have in float32 alone.
ENDS: dict[str, Callable[[Any], tuple[np.ndarray, np.ndarray]]] = {
    "GeneralizedExtremeValue": _of_extremes,
    "GeneralizedPareto": _of_pareto,
    "InverseGaussian": lambda d: (np.zeros([]), np.full([], np.inf)),
    "TruncatedCauchy": lambda d: (_number(d.low), _number(d.high)),
    "TruncatedNormal": lambda d: (_number(d.low), _number(d.high)),
}
# Those whose draws fill no box: a vector of L numbers has no density there.
SURFACES = {
    "Dirichlet": "a simplex",
    "RelaxedOneHotCategorical": "a simplex",
    "PowerSpherical": "a sphere",
    "SphericalUniform": "a sphere",
    "VonMisesFisher": "a sphere",
}


class Region(NamedTuple):
    """Where a variable lies, and its tails there.

    Attributes:
        support: of every component; None where it is not known.
        heaviest: of all components and of the whole batch, at either end; None where it is not known.
        lightest: likewise.
        surface: class of a distribution on one of `SURFACES`, which has no density over the L numbers; "" for others.
        event_shape: of the distribution; None where it is not known.
        undrawn: class of what draws without a gradient, "" if there is one.
    """

    support: Support | None
    heaviest: Tails | None
    lightest: Tails | None
    surface: str = ""
    event_shape: tuple[int | None, ...] | None = None
    undrawn: str = ""


UNKNOWN = Region(None, None, None)


class LookedUp:
    """An attribute of a part that nobody declared: it is that of its `region`, which is looked up.

    Args:
        pick: the value, of a `Region`.
    """

    def __init__(self, pick: Callable[[Region], Any]) -> None:
        self.pick = pick

    def __get__(self, part: Any, owner: type | None = None) -> Any:
        return self.pick(UNKNOWN if part is None else part.region)


def undeclare(cls: type, base: type) -> None:
    """Have `support` and `tails` of a class with a distribution of its own looked up, unless it declares them too.

    What it would inherit is said of another distribution.
    """
    if "distribution" in vars(cls):
        for name in {"support", "tails"} - set(vars(cls)):
            setattr(cls, name, vars(base)[name])


def surface(part: Any) -> str:
    """The class of a distribution on a surface that a part has, "" for all others and where the support is declared."""
    is_declared = not isinstance(inspect.getattr_static(part, "support"), LookedUp)
    return "" if is_declared else part.region.surface


def looked_up(part: Any, distribution: Callable[[], tfd.Distribution]) -> Region:
    """The `region` of a part's distribution, once and for all as soon as there is one to look at.

    Args:
        part: that of which it is.
        distribution: makes one; whatever it raises, nothing is known yet.
    """
    known: Region | None = vars(part).get("__region__")
    if known is not None:
        return known
    try:
        with tf.init_scope():
            found = region(distribution())
    except Exception:  # the user's own code, which may need weights or a condition that are not there yet
        return UNKNOWN
    vars(part)["__region__"] = found
    return found


def region(distribution: tfd.Distribution) -> Region:
    """Support and tails of a distribution of numbers or vectors, of all members of its batch together."""
    shape = None if distribution.event_shape.rank is None else tuple(distribution.event_shape)
    undrawn = ""
    if distribution.reparameterization_type != tfd.FULLY_REPARAMETERIZED:
        innermost = distribution
        while _inner(innermost) is not None:
            innermost = _inner(innermost)
        undrawn = type(innermost).__name__
    for name in _names(distribution):
        if name in SURFACES:
            support = Support(-1.0, 1.0) if "sphere" in SURFACES[name] else Support(0.0, 1.0)
            return Region(support, None, None, name, shape, undrawn)
    tails = _tails(distribution)
    ends = None if tails is None else [[_extreme(tail, choose) for tail in tails] for choose in (min, max)]
    heaviest, lightest = (None, None) if ends is None else (Tails(*ends[0]), Tails(*ends[1]))
    return Region(_support(distribution), heaviest, lightest, "", shape, undrawn)


def _names(distribution: tfd.Distribution) -> list[str]:
    """Of its class and those that this is made of."""
    return [cls.__name__ for cls in type(distribution).__mro__]


def _inner(distribution: tfd.Distribution) -> tfd.Distribution | None:
    """What a distribution repeats or reshapes; None for one that stands for itself."""
    wraps = {"_Independent", "Independent", "_Sample", "Sample", "_BatchReshape", "BatchReshape"}
    wraps |= {"_BatchBroadcast", "BatchBroadcast"}
    return distribution.distribution if wraps & set(_names(distribution)) else None


def _tails(distribution: tfd.Distribution) -> tuple[Tail, Tail] | None:
    inner = _inner(distribution)
    if inner is not None:
        return _tails(inner)
    for name in _names(distribution):
        if name in RULES:
            try:
                return RULES[name](distribution)
            except NotImplementedError:  # the rule does not reach so far: unknown, of which the model warns
                return None
    if MIXTURE in _names(distribution):
        # A mixture is as heavy as its heaviest component, whether it stands for q or for p.
        tails = _tails(distribution.components_distribution)
        return None if tails is None else (_extreme(tails[0], min), _extreme(tails[1], min))
    if TRANSFORMED in _names(distribution):
        base = _tails(distribution.distribution)
        support = _support(distribution.distribution)
        return None if base is None or support is None else _moved(distribution.bijector, base, support)
    return None


def _support(distribution: tfd.Distribution) -> Support | None:
    inner = _inner(distribution)
    if inner is not None:
        return _support(inner)
    if MIXTURE in _names(distribution):
        return _support(distribution.components_distribution)
    for name in _names(distribution):
        if name in ENDS:
            low, high = ENDS[name](distribution)
            return Support(float(np.min(low)), float(np.max(high)))
    try:
        bijector = distribution.experimental_default_event_space_bijector()
        shape = tf.concat([distribution.batch_shape_tensor(), distribution.event_shape_tensor()], axis=0)
        ends = [_number(bijector.forward(tf.fill(shape, tf.constant(e, distribution.dtype)))) for e in REAL]
    # A distribution of a user's own may lack any of these: its support is then unknown, which is said where it counts.
    except (AttributeError, NotImplementedError, TypeError, ValueError, tf.errors.OpError):
        return None
    if np.isnan(ends).any():
        return None
    return Support(float(np.min(ends)), float(np.max(ends)))


def _moved(bijector: tfb.Bijector, tails: tuple[Tail, Tail], support: Support) -> tuple[Tail, Tail] | None:
    """The tails of f(z) for those of z; None for an f that is not known."""
    name = type(bijector).__name__.lstrip("_")
    if name == "Chain":
        for part in reversed(bijector.bijectors):
            moved = _moved(part, tails, support)
            if moved is None:
                return None
            ends = [_number(part.forward(tf.constant(end, part.dtype or tf.float32))) for end in support]
            tails, support = moved, Support(float(np.min(ends)), float(np.max(ends)))
        return tails
    if name in ("Identity", "Shift"):
        return tails
    if name == "Scale" and bijector.scale is not None:
        scale = _number(bijector.scale)
        if (scale < 0).any() and (scale > 0).any():
            return None
        at_ends = zip(tails, support, strict=True)
        low, high = (_scaled(tail, np.abs(scale) if math.isinf(end) else 1 / np.abs(scale)) for tail, end in at_ends)
        return (high, low) if (scale < 0).any() else (low, high)
    # How log u of the image grows with u, at either end.
    growth = {"Exp": (1.0, 1.0), "Sigmoid": (1.0, 1.0), "Tanh": (2.0, 2.0), "Softplus": (1.0, None)}
    if name not in growth:
        return None
    low, high = (
        tail if factor is None or math.isfinite(end) else _stretched(tail, factor)
        for tail, end, factor in zip(tails, support, growth[name], strict=True)
    )
    return low, high


def _scaled(tail: Tail, factor: np.ndarray) -> Tail:
    """The tail of factor * u."""
    if np.all(tail.kind == POWER):
        return Tail(POWER, tail.exponent, _number(tail.rate) * factor ** -_number(tail.exponent))
    return Tail(tail.kind, tail.exponent, _number(tail.rate) / factor)


def _stretched(tail: Tail, factor: float) -> Tail:
    """The tail of exp(factor * u)."""
    cells = [_stretched_one(cell, factor) for cell in _cells(tail)]
    return Tail(*(np.array(numbers) for numbers in zip(*cells, strict=True)))  # type: ignore[arg-type]


def _stretched_one(tail: Tail, factor: float) -> Tail:
    if tail.kind == EXPONENTIAL:
        return Tail(POWER, tail.rate / factor, 1.0)
    if tail.kind == POWER and tail.exponent > 1:
        return LOG
    return Tail(POLYNOMIAL, tail.rate / factor if tail.kind == POWER and tail.exponent == 1 else 0.0)


def _cells(tail: Tail) -> list[Tail]:
    flat = [np.ravel(part).astype("float64") for part in np.broadcast_arrays(*map(_number, tail))]
    return [Tail(int(kind), *rest) for kind, *rest in zip(*flat, strict=True)]


def _extreme(tail: Tail, choose: Callable[[Iterable[Tail]], Tail]) -> Tail:
    return choose(_cells(tail))


def _rate(gamma: Any) -> Any:
    return gamma.rate if gamma.rate is not None else np.exp(_number(gamma.log_rate))


def _number(value: Any) -> np.ndarray:
    return np.asarray(tf.convert_to_tensor(value) if hasattr(value, "dtype") else value)
