"""Diagnosis in words: what is wrong with a trained model, by which number, and what helps.

for finding in evaluation.diagnose(vae, test, history=history):
    print(finding)
"""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow_probability as tfp

from keras_vae.evaluation.findings.codebook import STILL, examine_codes, examine_sameness
from keras_vae.evaluation.findings.finding import Finding
from keras_vae.evaluation.findings.game import examine_game
from keras_vae.evaluation.statistics import (
    CodeStatistics,
    LatentStatistics,
    gather,
    given,
    is_deterministic,
    is_flat,
    latent_statistics,
    tail_of_log_ratio,
)
from keras_vae.models.vae import VAE

tfd = tfp.distributions
# A dimension whose posterior mean moves by less than this part of the posterior's own variance is not used, whatever
# its scale: a prior that is learned or bounded sets another one than the standard normal, which `ACTIVE` assumes.
MOVED = 0.01
# Below this many nats in all, the decoder does not use its latents.
COLLAPSED_NATS = 0.1
# A dimension with less than this many nats is not used.
UNUSED_NATS = 0.01
# A class with a smaller part of an equal share than this is not used, where there are so many draws for each.
UNUSED_SHARE, FEW_DRAWS = 0.1, 10
# Of the classes of a code, so many are tried in place of an example's own.
MOST_CLASSES = 10
REVIVE = (
    "Hold its information, and not its KL, at a capacity that is there from the start (objectives.JointCapacity), with "
    "batches of several examples for each class; and lower the weight of the KL."
)
# A scale within this factor of its bound has hit it.
NEAR_BOUND = 1.05
# The validation ELBO is too far below the training ELBO if it lies lower by more than this part of the KL, which is
# what the latents carry, or has fallen from its best by more than that part; and by more than so many nats in any case.
GAP_OF_KL, FALL_OF_KL, GAP_NATS = 0.5, 0.1, 1.0
# Standard errors of the mean over the examples that a gap may have: other examples of the same kind differ by as much.
GAP_ERRORS = 3.0
# With a tail index from this on, log q - log p is said to have no mean; 1 is the limit, and the estimate has an error
# of some 0.07. It is taken of so many examples.
HEAVY_TAIL, TAIL_EXAMPLES = 0.95, 20
# Scales are looked at for this many examples.
SCALE_EXAMPLES = 256


def diagnose(vae: VAE, data: Any, history: Mapping[str, Any] | None = None, seed: int = 0) -> list[Finding]:
    """Everything that is found wrong with a model; an empty list for a healthy one.

    Args:
        vae: the model.
        data: a finite data set, the validation or test data as a rule.
        history: names to lists, as in `keras.callbacks.History.history`, or names to numbers, the logs of one epoch;
            for the gap between training and validation in what the objective's `monitor` names, and values that are
            not finite.
        seed: of one draw from the posterior for each example.
    """
    found = latent_statistics(vae, data, seed)
    x, y = gather(data, SCALE_EXAMPLES)
    return examine(vae, found, x, history, given(vae, y, data))


def examine(
    vae: VAE,
    found: LatentStatistics,
    x: np.ndarray,
    history: Mapping[str, Any] | None = None,
    condition: np.ndarray | None = None,
) -> list[Finding]:
    """The same as `diagnose`, from statistics that are known already and a few examples `x` [B, *event_shape]."""
    history = history or {}
    nonfinite = _nonfinite(vae, found, history)
    if nonfinite:
        # Everything else would be a consequence.
        return nonfinite
    findings = []
    # Of one example nothing varies.
    if not is_deterministic(vae) and found.num_examples > 1:
        findings += _collapse(found)
        if len(found.rates) > 1 or not findings:
            findings += _unused(found) + _codes(vae, found, x, condition)
    findings += _heavy_tails(vae, x, condition)
    findings += _scale_at_bound(vae, x, condition)
    if vae.is_game:
        findings += examine_game(vae, x, history, condition)
    findings += _gap(vae, found, history)
    return findings


def _used(found: LatentStatistics) -> np.ndarray:
    """Which latent dimensions the data move, [L]."""
    if found.mean_variance is None:
        return found.active
    return found.active | (found.variance_of_means > MOVED * found.mean_variance)


def _collapse(found: LatentStatistics) -> list[Finding]:
    used, remedy = (
        _used(found),
        (
            "Lower the weight of the KL or let it rise slowly (objectives.ELBO(kl_weight=schedules.Linear(steps))), "
            "give free bits (ELBO(free_bits=0.1)), use a weaker decoder, or a Normal likelihood of a smaller scale."
        ),
    )
    size = len(used)
    # A code that does not move has a KL, and is a finding of its own.
    if found.rate < COLLAPSED_NATS or not (used.any() or found.codes):
        return [
            Finding(
                "posterior_collapse",
                found.rate,
                f"KL(q(z|x) || p(z)) is {found.rate:.3g} nats per example and {found.active.sum()} of {size} latent "
                "dimensions are active: q(z|x) is the prior whatever x, and the decoder ignores z.",
                remedy,
            )
        ]
    return [
        Finding(
            "posterior_collapse",
            float(found.rates[level - 1]),
            f"Level {level} of {len(found.rates)} is not used: its KL is {found.rates[level - 1]:.3g} nats per example "
            f"and {found.active[found.levels == level].sum()} of its {(found.levels == level).sum()} latent dimensions "
            "are active: its posterior is its prior, whatever x.",
            f"{remedy} A warm-up with kl_balancing=True charges less for a level that is little used.",
            level=level,
        )
        for level in _collapsed(found)
    ]


def _collapsed(found: LatentStatistics) -> list[int]:
    """The levels of a hierarchy that carry nothing."""
    if len(found.rates) == 1:
        return []
    used = _used(found)
    return [
        level
        for level, rate in enumerate(found.rates, start=1)
        if rate < COLLAPSED_NATS or not used[found.levels == level].any()
    ]


def _unused(found: LatentStatistics) -> list[Finding]:
    unused = ~_used(found) if found.kl_per_dim is None else ~_used(found) & (found.kl_per_dim < UNUSED_NATS)
    # A level that is not used at all is a finding of its own.
    unused &= ~np.isin(found.levels, _collapsed(found))
    # So is a class.
    for code in found.codes:
        unused[code.first : code.first + code.size] = False
    if not unused.any():
        return []
    one_level = len(found.rates) == 1
    within = np.concatenate([np.arange(count) for count in np.bincount(found.levels)[1:]])
    names = ", ".join(
        str(dim) if one_level else f"{within[dim]} of level {found.levels[dim]}" for dim in np.flatnonzero(unused)[:12]
    )
    more = "" if unused.sum() <= 12 else ", ..."
    share = 0.0 if found.kl_per_dim is None else float(found.kl_per_dim[unused].sum())
    enough = f"a latent_dim of {int((~unused).sum())}" if one_level else "as many fewer"
    return [
        Finding(
            "unused_dimensions",
            float(unused.sum()),
            f"{unused.sum()} of {len(unused)} latent dimensions carry nothing ({names}{more}; {share:.2g} nats in "
            "all): the variance of their posterior mean is below 0.01.",
            f"This does no harm; {enough} would do. If you want them used: KL warm-up "
            "(schedules.Linear) or free bits (objectives.ELBO(free_bits=0.1)).",
            is_harmful=False,
        )
    ]


def _codes(vae: VAE, found: LatentStatistics, x: np.ndarray, condition: np.ndarray | None) -> list[Finding]:
    """What is wrong with discrete codes: one-hots, and codebooks."""
    findings = []
    posterior = vae.encoder.posterior
    for code in found.codes:
        if posterior.num_codes is not None and posterior.remedy:
            findings += examine_codes(posterior, code)
            continue
        size = code.num_classes
        constant = math.log(code.perplexity) < COLLAPSED_NATS
        if constant:
            findings.append(
                Finding(
                    "constant_code",
                    code.perplexity,
                    f"{code.shares.max():.1%} of the data have one class of the {size} of the code (perplexity "
                    f"{code.perplexity:.2f}): it says nothing, although its KL may be as large as log {size} = "
                    f"{math.log(size):.2f} nats.",
                    f"{REVIVE} Of a codebook: a larger revive_below.",
                )
            )
        elif code.information < COLLAPSED_NATS:
            findings.append(
                Finding(
                    "ignored_code",
                    code.information,
                    f"The code of {size} classes is drawn alike whatever x: it carries {code.information:.3g} of at "
                    f"most {math.log(size):.2f} nats.",
                    REVIVE,
                )
            )
        elif (loss := _loss_of_swapping(vae, code, x, condition)) < COLLAPSED_NATS:
            findings.append(
                Finding(
                    "ignored_code",
                    loss,
                    f"The decoder ignores the code of {size} classes: with other classes log p(x|z) is {loss:.3g} nats "
                    "lower.",
                    f"Give the continuous latents less to carry: fewer, or a smaller capacity. {REVIVE}",
                )
            )
        unused = int((code.shares < UNUSED_SHARE / size).sum())
        if unused and not constant and code.num_draws >= FEW_DRAWS * size:
            findings.append(
                Finding(
                    "unused_classes",
                    float(unused),
                    f"{unused} of the {size} classes of the code are hardly ever used (perplexity "
                    f"{code.perplexity:.1f}).",
                    f"Fewer classes would do. If you want them used: {REVIVE[0].lower()}{REVIVE[1:]} Of a codebook: a "
                    "larger revive_below.",
                    # With so many in vain, the code did not come into use.
                    is_harmful=2 * unused > size,
                )
            )
    is_codebook = posterior.num_codes is not None and posterior.remedy
    if (
        is_codebook
        and not (found.variance_of_means > STILL).any()
        and not any(f.name == "constant_code" for f in findings)
    ):
        findings.insert(0, examine_sameness(posterior, found.num_examples))
    return findings


def _loss_of_swapping(vae: VAE, code: CodeStatistics, x: np.ndarray, condition: np.ndarray | None) -> float:
    """Nats per example that log p(x|z) falls by where another class takes the place of the most probable one.

    Infinite where the decoder is not asked: of what is no one-hot, of a hierarchy, and of a model with targets.
    """
    if code.size != code.num_classes or not is_flat(vae) or vae.targets:
        return math.inf
    z = np.array(vae.encode(x, condition).mean())
    columns = slice(code.first, code.first + code.size)
    own = np.eye(code.size, dtype="float32")[z[:, columns].argmax(axis=-1)]
    found = []
    for shift in range(min(code.size, MOST_CLASSES)):
        z[:, columns] = np.roll(own, shift, axis=-1)
        found.append(float(np.mean(vae.decode(z, condition).log_prob(x))))
    return found[0] - float(np.mean(found[1:]))


def _heavy_tails(vae: VAE, x: np.ndarray, condition: np.ndarray | None) -> list[Finding]:
    few = slice(TAIL_EXAMPLES)
    index = tail_of_log_ratio(vae, x[few], None if condition is None else condition[few])
    if index is None or index < HEAVY_TAIL:
        return []
    return [
        Finding(
            "kl_without_mean",
            index,
            f"The KL is a mean over draws of log q(z|x) - log p(z), whose large values fall like t^(-{1 / index:.2f}): "
            "by that it has no mean, KL(q || p) is infinite, and the number is an accident of the draws.",
            "Take a posterior whose tails the prior can carry, such as MultivariateNormalDiag, or a prior of heavier "
            "ones, and declare the tails of parts of your own (posteriors.Tails).",
        )
    ]


def _scale_at_bound(vae: VAE, x: np.ndarray, condition: np.ndarray | None) -> list[Finding]:
    bounds = vae.decoder.likelihood.scale_bounds
    if bounds is None:
        return []
    p = vae.infer(x, condition=condition).likelihood
    scale, name = np.asarray(p.stddev()), type(vae.decoder.likelihood).__name__
    findings = []
    at_low, at_high = (
        float((scale <= bounds.low * NEAR_BOUND).mean()),
        float((scale >= bounds.high / NEAR_BOUND).mean()),
    )
    if at_low > 0:
        findings.append(
            Finding(
                "scale_at_bound",
                float(scale.min()),
                f"The scale of the {name} likelihood is at its lower bound of {bounds.low:g} for {at_low:.1%} of the "
                "values: the density of the data grows without limit there, and the log-likelihood measures the bound.",
                "The data are constant or lie on a grid at these values. Fix the scale (likelihoods.Normal(shape, "
                "scale=0.1)), give the grid a probability (likelihoods.DiscretizedLogistic), or add noise to the data.",
            )
        )
    if at_high > 0:
        findings.append(
            Finding(
                "scale_at_bound",
                float(scale.max()),
                f"The scale of the {name} likelihood is at its upper bound of {bounds.high:g} for {at_high:.1%} of the "
                "values: the model explains the data as noise.",
                "Bring the data to a range near [0, 1], and lower the learning rate.",
            )
        )
    return findings


def _gap(vae: VAE, found: LatentStatistics, history: Mapping[str, Any]) -> list[Finding]:
    # A history may be of something else than what the objective maximises; the ELBO is in all of them, and in nats
    # whatever a loss weighs.
    monitor = vae.monitor if f"val_{vae.monitor}" in history and vae.monitor != "loss" else "elbo"
    name = "ELBO" if monitor == "elbo" else monitor.replace("_", " ")
    train, validation = _numbers(history.get(monitor, [])), _numbers(history.get(f"val_{monitor}", []))
    if not len(train) or not len(validation):
        return []
    gap, fall = float(train[-1] - validation[-1]), float(validation.max() - validation[-1])
    kl = abs(found.rate)
    error = found.standard_error if math.isfinite(found.standard_error) else 0.0
    # An autoencoder has no KL to measure a gap by.
    has_gap = kl > 0 and gap > max(GAP_OF_KL * kl, GAP_NATS, GAP_ERRORS * error)
    has_fallen = gap > GAP_NATS and fall > max(FALL_OF_KL * kl, GAP_NATS)
    if not has_gap and not has_fallen:
        return []
    message = (
        f"The {name} is {train[-1]:.2f} nats on the training data and {validation[-1]:.2f} on the validation data, a "
        f"gap of {gap:.2f} where the KL is {kl:.2f}; the best validation {name} was {validation.max():.2f}. "
    )
    more = "a smaller network or more data."
    if vae.decoder.likelihood.levels == 2:
        more = 'a smaller network or more data, and draw binary images anew (data.load(..., binarize="dynamic")).'
    if len(validation) > 1 and not has_fallen:
        # It still learns something that holds for new data too.
        message += "The model knows its training data better than others, "
        message += f"but the validation {name} has not fallen."
        return [Finding("train_validation_gap", gap, message, f"If the gap matters, use {more}", is_harmful=False)]
    message += "The model learns its training data by heart."
    stop = f"Stop earlier (keras.callbacks.EarlyStopping('val_{monitor}', mode='max', restore_best_weights=True)), use "
    return [Finding("train_validation_gap", gap, message, stop + more)]


def _nonfinite(vae: VAE, found: LatentStatistics, history: Mapping[str, Any]) -> list[Finding]:
    remedy = (
        "Lower the learning rate or clip the gradient (keras.optimizers.Adam(1e-4, global_clipnorm=1.0)), go back to "
        "the last checkpoint, and look for extreme values in the data."
    )
    weights = [w.path for w in vae.weights if not np.isfinite(keras.ops.convert_to_numpy(w)).all() and _is_float(w)]
    # Bounds of a range may be infinite by intention.
    weights = [path for path in weights if not path.endswith("/range")]
    if weights:
        names = ", ".join(weights[:3]) + (", ..." if len(weights) > 3 else "")
        return [
            Finding("nonfinite", float(len(weights)), f"{len(weights)} weights hold NaN or infinity: {names}.", remedy)
        ]
    if found.num_nonfinite:
        count = found.num_nonfinite
        message = f"The ELBO of {count} of {found.num_examples} examples is NaN or infinite."
        return [Finding("nonfinite", float(count), message, remedy)]
    for name, values in history.items():
        numbers = _numbers(values)
        if len(numbers) and not np.isfinite(numbers[-1]):
            message = f"The last value of {name} in the history is {numbers[-1]}."
            return [Finding("nonfinite", float(numbers[-1]), message, remedy)]
    return []


def _is_float(weight: keras.Variable) -> bool:
    return "float" in str(weight.dtype)


def _numbers(values: Any) -> np.ndarray:
    try:
        return np.atleast_1d(np.asarray(values, "float64"))
    except (TypeError, ValueError):
        return np.array([])
