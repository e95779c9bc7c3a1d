"""What an exported model answers: the signatures, as functions of tensors with any first dimension."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.conditions.handed import condition_for
from keras_vae.distributions.gaussian import cooled
from keras_vae.evaluation.normality.kinds import NUM_SAMPLES
from keras_vae.evaluation.normality.terms import ELBO, RECONSTRUCTION, evaluated, scores_together
from keras_vae.export.draw import NoTransform, draw, draw_by_rows, level_noise
from keras_vae.models import inputs
from keras_vae.models.vae import VAE

Outputs = dict[str, tf.Tensor]


@dataclass(frozen=True)
class Signature:
    """A function of named tensors [None, ...] with named outputs [None, ...].

    ``builtin`` is false where TFLite has no ops for it. ``note`` says what the user of the signature should know.
    """

    function: Callable[..., Outputs]
    inputs: dict[str, tf.TensorSpec]
    builtin: bool = True
    note: str = ""


def signatures(vae: VAE) -> dict[str, Signature]:
    """The signatures of a model, traced by nobody yet.

    | name | inputs | outputs |
    |---|---|---|
    | `decode` | `z` [None, L] | `mean` [None, *event_shape] of p(x given z) |
    | `sample` | `seed` int32 [None, 2] | `z` [None, L] from the prior, `mean` |
    | `encode` | `x` [None, *event_shape] | `loc` and `scale` of q(z given x); `point` if it has neither |
    | `reconstruct` | `x` | `mean` of p(x given z) at the posterior's point |
    | `encode_indices` | `x`: with a codebook | `indices` [None, height, width], int32, or [None, ..., depth] |
    | `decode_indices` | `indices`, likewise: with a codebook | `mean` of p(x given their vectors) |
    | `log_likelihood` | `z`, `x` | log p(x given z) [None], in nats; NaN where x has values outside the support |
    | `score` | `x` | how normal x is [None], in nats: `evaluation.scores(vae, x)`; NaN likewise |

    `serving_default` is `decode`. A `scale` is [None, L] where the posterior factorises, else the [None, L, L] matrix
    S of loc + S eps. Those of a conditional model also take `condition` [None, ...], int32 for labels; the answer to a
    label that is no class is NaN. A hierarchy is decoded with its lower levels at the means of their priors; its
    `sample` draws all levels, at a `temperature` [None] that scales the standard deviations.
    """
    latent, posterior = [None, vae.prior.latent_dim], vae.encoder.posterior
    event: list[Any] = [None, *vae.decoder.event_shape]
    z_spec, x_spec = tf.TensorSpec(latent, tf.float32, "z"), tf.TensorSpec(event, tf.float32, "x")
    seed_spec = tf.TensorSpec([None, 2], tf.int32, "seed")

    # EnsureShape refuses requests of another shape, which broadcasting would answer with nonsense.
    def mean(z: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
        p = vae.decoder(z, condition=condition_for(vae.decoder, condition), training=False)
        return _known(vae, condition, p.mean())

    def decode(z: tf.Tensor, condition: tf.Tensor | None = None) -> Outputs:
        return {"mean": mean(tf.ensure_shape(z, latent), _in_shape(vae, condition, z))}

    def decode_indices(indices: tf.Tensor, condition: tf.Tensor | None = None) -> Outputs:
        indices = tf.ensure_shape(indices, [None, *posterior.indices_shape])
        places = list(range(1, 1 + len(posterior.indices_shape)))
        known = tf.reduce_all((indices >= 0) & (indices < posterior.num_codes), axis=places)
        found = mean(posterior.lookup(indices), _in_shape(vae, condition, indices))
        return {"mean": tf.where(tf.reshape(known, [-1, *[1] * (len(event) - 1)]), found, math.nan)}

    def sample(seed: tf.Tensor, condition: tf.Tensor | None = None, temperature: tf.Tensor | None = None) -> Outputs:
        condition = _in_shape(vae, condition, seed)
        z = tf.ensure_shape(sampler(vae, tf.ensure_shape(seed, [None, 2]), condition), latent)
        if temperature is None:
            return {"mean": mean(z, condition), "z": z}
        heat = _beside(tf.ensure_shape(temperature, [None])[:, tf.newaxis], seed)
        p = _prior(vae, condition)
        if isinstance(p, tfd.MultivariateNormalLinearOperator):
            z = cooled(p, z, heat)
        noise = level_noise(seed, vae.decoder.noise_sizes)
        likelihood = vae.decoder.draw(z, [heat * eps for eps in noise], condition_for(vae.decoder, condition))
        return {"mean": _known(vae, condition, likelihood.mean()), "z": z}

    def ascend(x: tf.Tensor, condition: tf.Tensor | None) -> tuple[tfd.Distribution, Any]:
        given = condition_for(vae.encoder, _in_shape(vae, condition, x))
        x = tf.ensure_shape(x, event)
        q, features = vae.encoder.ascend(x, condition=given, training=False)
        return vae.with_code(x, q), features

    def encode(x: tf.Tensor, condition: tf.Tensor | None = None) -> Outputs:
        q, _ = ascend(x, condition)
        found = {"loc": getattr(q, "loc", None), "scale": _scale(q)}
        outputs = {name: tf.convert_to_tensor(value) for name, value in found.items() if value is not None}
        outputs = outputs or {"point": vae.encoder.posterior.point(q)}
        if posterior.num_codes is not None:
            outputs["indices"] = tf.reshape(q.indices, [-1, *posterior.indices_shape])
        return {name: _known(vae, condition, value) for name, value in outputs.items()}

    def encode_indices(x: tf.Tensor, condition: tf.Tensor | None = None) -> Outputs:
        return {"indices": encode(x, condition)["indices"]}

    def reconstruct(x: tf.Tensor, condition: tf.Tensor | None = None) -> Outputs:
        q, features = ascend(x, condition)
        given = condition_for(vae.decoder, _in_shape(vae, condition, x))
        p, _ = vae.decoder.descend(vae.encoder.posterior.point(q), features, None, given, False)
        return {"mean": _known(vae, condition, p.mean())}

    def supported(flat: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """x [N, values] with another value where one lies outside the support, and which rows have none of those.

        It would be an index outside a table of levels, and fail the other rows as well.
        """
        flat = vae.decoder.likelihood.with_density(flat)
        low, high = vae.decoder.likelihood.support
        is_bounded = math.isfinite(high - low)
        inside = tf.math.is_finite(flat) if is_bounded else _is_finite(flat)
        outside = vae.decoder.likelihood.support.outside(flat)
        if outside is not None:
            inside &= ~outside
        if vae.decoder.likelihood.schema is not None:
            inside &= ~vae.decoder.likelihood.outside(flat)
        if vae.missing:
            inside |= tf.math.is_nan(flat)
        return tf.where(inside, flat, tf.ones_like(flat) * min(max(0.0, low), high)), tf.reduce_all(inside, axis=1)

    def log_likelihood(z: tf.Tensor, x: tf.Tensor, condition: tf.Tensor | None = None) -> Outputs:
        z, x = tf.ensure_shape(z, latent), tf.ensure_shape(x, event)
        # Fails where z and x have different numbers of rows; the optimizer may remove a reshape that would.
        values = math.prod(event[1:])
        both = tf.concat([tf.reshape(x, [-1, values]), z], axis=1)
        flat, inside = supported(both[:, :values])
        x = tf.reshape(flat, [-1, *event[1:]])
        condition = _in_shape(vae, condition, z)
        p = vae.decoder(z, condition=condition_for(vae.decoder, condition), training=False)
        value = _known(vae, condition, p.log_prob(x))
        return {"log_likelihood": tf.where(inside, value, math.nan)}

    def score(x: tf.Tensor, condition: tf.Tensor | None = None) -> Outputs:
        inputs.refuse_targets(vae)
        condition = _in_shape(vae, condition, x)
        flat, inside = supported(tf.reshape(tf.ensure_shape(x, event), [-1, math.prod(event[1:])]))
        values = evaluated(vae, NUM_SAMPLES)(tf.reshape(flat, [-1, *event[1:]]), condition)
        value = _known(vae, condition, values.get(ELBO, values[RECONSTRUCTION]))
        return {"score": tf.where(inside, value, math.nan)}

    def given(*parts: Any) -> dict[str, tf.TensorSpec]:
        return condition_spec(vae) if any(part.condition is not None for part in parts) else {}

    sampler, sample_note = _sampler(vae)
    to_sample = {"seed": seed_spec, **given(vae.prior, vae.decoder)}
    if vae.num_levels > 1:
        to_sample["temperature"] = tf.TensorSpec([None], tf.float32, "temperature")
    table = {
        "decode": Signature(decode, {"z": z_spec, **given(vae.decoder)}, note=_layout(vae)),
        "sample": Signature(sample, to_sample, builtin=sampler is _by_counter, note=sample_note),
        "encode": Signature(encode, {"x": x_spec, **given(vae.encoder)}),
        "reconstruct": Signature(reconstruct, {"x": x_spec, **given(vae.encoder, vae.decoder)}),
        "log_likelihood": Signature(log_likelihood, {"z": z_spec, "x": x_spec, **given(vae.decoder)}),
        "score": Signature(
            score,
            {"x": x_spec, **given(vae.encoder, vae.decoder, vae.prior)},
            builtin=scores_together(vae),
            note=f"by {NUM_SAMPLES} draws, the same for all x"
            + ("" if scores_together(vae) else ", of one x after the other by TFP's sampling; not in TFLite files"),
        ),
    }
    if posterior.num_codes is not None:
        spec = tf.TensorSpec([None, *posterior.indices_shape], tf.int32, "indices")
        table["encode_indices"] = Signature(encode_indices, {"x": x_spec, **given(vae.encoder)})
        table["decode_indices"] = Signature(
            decode_indices, {"indices": spec, **given(vae.decoder)}, note=f"0 to {posterior.num_codes - 1}"
        )
    if vae.num_levels > 1:
        # p(x|z) of the top level alone is an integral over the others.
        del table["log_likelihood"]
    return table


def condition_spec(vae: VAE, rows: int | None = None) -> dict[str, tf.TensorSpec]:
    """The input `condition` [rows, ...] of a conditional model, by name; nothing for another."""
    if vae.condition is None:
        return {}
    return {
        "condition": tf.TensorSpec([rows, *vae.condition.shape], tf.dtypes.as_dtype(vae.condition.dtype), "condition")
    }


def _in_shape(vae: VAE, condition: tf.Tensor | None, beside: tf.Tensor) -> tf.Tensor | None:
    """The condition, refused at run time unless it has its shape and as many rows as the tensor beside it."""
    if condition is None or vae.condition is None:
        return None
    condition = tf.ensure_shape(condition, [None, *vae.condition.shape])
    flat = tf.reshape(condition, [-1, math.prod(vae.condition.shape)])
    return tf.reshape(_beside(flat, beside), [-1, *vae.condition.shape])


def _beside(values: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """The values [N, size], refused at run time unless the other tensor has as many rows."""
    column = tf.cast(tf.reshape(other, [-1, math.prod(other.shape[1:])])[:, :1], values.dtype)
    return tf.concat([column, values], axis=1)[:, 1:]


def _is_finite(x: tf.Tensor) -> tf.Tensor:
    """As `tf.math.is_finite`, which TFLite makes a comparison with the largest number: 65,504 in a float16 file."""
    root = tf.abs(x)
    for _ in range(4):
        root = tf.sqrt(root)
    return root < 300.0  # The largest float32 is 256^16.


def _known(vae: VAE, condition: tf.Tensor | None, values: tf.Tensor) -> tf.Tensor:
    """The values, NaN in the rows of labels that are no class; -1 where they are indices."""
    if condition is None or vae.condition is None or vae.condition.shape:
        return values
    known = tf.reshape(vae.condition.contains(condition), [-1, *[1] * (values.shape.rank - 1)])
    return tf.where(known, values, math.nan if values.dtype.is_floating else tf.constant(-1, values.dtype))


def meanings(vae: VAE) -> dict[str, str]:
    """What each input and output is, and which values it has, in words for those who send requests."""
    likelihood, posterior, latent_dim = vae.decoder.likelihood, vae.encoder.posterior, vae.prior.latent_dim
    low, high = likelihood.support
    images = " (`data.load`: images from 0 to 1)" if len(likelihood.event_shape) == 3 else ""
    usual = f", as in the training data{images}"
    if math.isfinite(low) and math.isfinite(high):
        inside = f"from {low:g} to {high:g}"
    else:
        inside = f"from {low:g} on{usual}" if math.isfinite(low) else f"real numbers{usual}"
    steps = {None: "", 2: ", either end"}.get(likelihood.levels, f", in steps of 1/{(likelihood.levels or 2) - 1}")
    # A density may be above one.
    nats = "at most 0" if likelihood.levels is not None else "of a density, so that it may be above 0"
    found = {
        "z": _layout(vae) or f"a point of the latent space, {latent_dim} real numbers",
        "x": f"an example: {inside}{steps}{'; NaN where a value is missing' if vae.missing else ''}",
        "seed": "any two whole numbers; the same pair gives the same answer, whatever stands in the other rows",
        "temperature": "of the draw: 1 as trained, less is more typical, 0 takes the means",
        "mean": "the mean of p(x given z), which is what is shown, in the units of `x`",
        "loc": "the location of q(z given x), which is the code of x; `decode` takes it as `z`",
        "scale": _meaning_of_scale(vae),
        "point": "one z that stands for q(z given x); `decode` takes it as `z`",
        "log_likelihood": (
            f"log p(x given z) in nats, summed over all values of x, {nats}; NaN where x lies outside of its values. "
            "It is not log p(x), which is an integral over z: `vae.log_prob` estimates that"
        ),
        "score": (
            "how normal x is to the model, in nats: the higher, the more. Below a low quantile of the scores of "
            "held-out examples, which `report.json` of a run has, it is not; NaN where x lies outside of its values"
        ),
    }
    if posterior.num_codes is not None:
        found["indices"] = f"of the vectors of the codebook, from 0 to {posterior.num_codes - 1}"
    if vae.condition is not None:
        classes = vae.condition.num_classes
        found["condition"] = "numbers as in training" if classes is None else f"a class, from 0 to {classes - 1}"
    return found


def _meaning_of_scale(vae: VAE) -> str:
    x = tf.zeros([1, *vae.decoder.event_shape])
    condition = None if vae.encoder.condition is None else tf.constant(vae.encoder.condition.zeros(1))
    q = vae.with_code(x, vae.encoder.ascend(x, condition=condition, training=False)[0])
    scale = _scale(q)
    for inner in ("tensor_distribution", "distribution", "distribution"):
        q = getattr(q, inner, q)
    if scale is not None and scale.shape.rank == 3:
        return "the matrix S of z = loc + S eps, eps standard normal: S S^T is the covariance of q(z given x)"
    name = type(q).__name__
    if "Normal" in name:
        return "the standard deviations of q(z given x), above 0: the larger, the less x says about that number of z"
    return f"the scale parameters of q(z given x), above 0, a {name.lstrip('_')}"


def with_empty_batches(function: Callable[..., Outputs]) -> Callable[..., Outputs]:
    """The function with a row of zeros in place of an empty batch, taken off its outputs again.

    TensorFlow's fused convolutions fail on empty tensors, and not on a batch of one.
    """

    def padded(**inputs: tf.Tensor) -> Outputs:
        rows = tf.shape(next(iter(inputs.values())))[0]
        missing = tf.cast(tf.equal(rows, 0), tf.int32)
        filled = {}
        for name, tensor in inputs.items():
            filled[name] = tf.pad(tensor, [[0, missing], *[[0, 0]] * (tensor.shape.rank - 1)])
            filled[name].set_shape(tensor.shape)
        return {name: output[:rows] for name, output in function(**filled).items()}

    return padded


def _prior(vae: VAE, condition: tf.Tensor | None) -> tfd.Distribution:
    return vae.prior.distribution(encoder=vae.encoder, condition=condition_for(vae.prior, condition))


def _by_counter(vae: VAE, seed: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
    return draw(_prior(vae, condition), seed)


def _by_rows(vae: VAE, seed: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
    return draw_by_rows(_prior(vae, condition), seed)


def _sampler(vae: VAE) -> tuple[Callable[[VAE, tf.Tensor, tf.Tensor | None], tf.Tensor], str]:
    condition = None if vae.condition is None else tf.constant(vae.condition.zeros(1))
    try:
        _by_counter(vae, tf.zeros([1, 2], tf.int32), condition)
    except NoTransform as reason:
        return _by_rows, f"z by TFP's stateless sampling, one row at a time, since {reason}; not in TFLite files"
    return _by_counter, "z by Threefry-2x32 keyed with the seed pair: other numbers than vae.sample, same distribution"


def _layout(vae: VAE) -> str:
    """What z is made of, where it is not all real numbers."""
    blocks = vae.prior.blocks
    if all(kind == "continuous" for kind, _ in blocks):
        return ""
    posterior, latent_dim = vae.encoder.posterior, vae.prior.latent_dim
    if posterior.num_codes is not None:
        grid, depth = posterior.indices_shape[:2], posterior.indices_shape[2:]
        places = " x ".join(str(n) for n in grid)
        of = f"each of {depth[0]} codes out of" if depth else "out of a codebook of"
        return (
            f"z is {places} vectors of {latent_dim // math.prod(grid)} numbers {of} {posterior.num_codes}; "
            "`decode_indices` takes their indices, which `encode` gives too"
        )
    parts = [f"a one-hot of {size} classes" if kind == "one-hot" else f"{size} real numbers" for kind, size in blocks]
    return f"z is {', then '.join(parts)}: `sample` and `encode` give it in this form"


def _scale(q: tfd.Distribution) -> tf.Tensor | None:
    """The scale of a posterior: a tensor as it is, of a linear operator its diagonal or else its matrix."""
    scale = getattr(q, "scale", None)
    if isinstance(scale, tf.linalg.LinearOperator):
        is_diagonal = isinstance(scale, (tf.linalg.LinearOperatorDiag, tf.linalg.LinearOperatorScaledIdentity))
        return scale.diag_part() if is_diagonal else scale.to_dense()
    return scale
