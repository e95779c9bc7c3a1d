"""Everything that can be said about a trained model in numbers, JSON-ready, and the same as a table for people."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import rich.console
import rich.table
import rich.text

from keras_vae.evaluation import diagnosis
from keras_vae.evaluation.aggregate import Aggregate, aggregate_posterior
from keras_vae.evaluation.annealing import annealed_importance_sampling, refuse_annealing
from keras_vae.evaluation.identifiers.tuples import has_one_tuple, semantic_ids
from keras_vae.evaluation.importance import ELBO, ESTIMATORS, IMPORTANCE, log_likelihood, refuse_refinement
from keras_vae.evaluation.statistics import (
    LatentStatistics,
    gather,
    given,
    is_deterministic,
    latent_statistics,
)
from keras_vae.models.vae import VAE


def evaluate(
    vae: VAE,
    test: Any,
    train: Any = None,
    history: Mapping[str, Any] | None = None,
    num_samples: int = 5000,
    max_examples: int | None = None,
    annealed: bool = False,
    seed: int = 0,
    verbose: bool = True,
    refine_steps: int = 0,
) -> dict[str, Any]:
    """Everything that can be said about a model in numbers, JSON-ready, in nats per example.

    `report["test"]` (and `report["train"]`, if training data are given, without the expensive estimates) holds

    - `elbo`, its `standard_error`, `rate` (the mean KL) and `distortion` (the mean -log p(x|z)), `elbo_bits_per_dim`;
    - `kl_is_exact`, `kl_per_dim` (None if the KL does not split), `active_units`, `latent_dim`, and of a hierarchy
      `levels`, the same of each;
    - `log_likelihood`: `mean`, `standard_error`, `num_samples`, `estimator` (whether it is one at all, or the ELBO) and
      the rest of `LogLikelihood`;
    - `annealed_importance_sampling`, if asked for, with the importance-weighted mean of the same examples beside it;
    - `semantic_ids`, of a model whose code is one tuple for an example: how well they tell examples apart, see
      `SemanticIDs`;
    - `aggregate_posterior`: `mutual_information`, `marginal_kl` and how they were estimated; of a hierarchy, those of
      its top level.

    What a plain autoencoder does not have is None. `report["findings"]` is the diagnosis.

    Args:
        vae: the model.
        test: a finite data set, with or without labels.
        train: training data, for the gap between training and test.
        history: of `fit`, for the diagnosis.
        num_samples: of the importance-weighted estimate.
        max_examples: use only as many examples of each data set; None for all.
        annealed: whether to run annealed importance sampling on the first 64 examples: minutes for a large model.
        seed: of all draws.
        verbose: whether to show a progress bar.
        refine_steps: of the importance-weighted estimate; see `log_likelihood`.

    Raises:
        ValueError: for data outside the support of the likelihood, no data, and `annealed` for a model that cannot be.
    """
    if refine_steps:
        refuse_refinement(vae)
    if annealed:
        refuse_annealing(vae)  # before the work, not after it
    report: dict[str, Any] = {}
    found: dict[str, LatentStatistics] = {}
    examples: dict[str, Any] = {}
    for name, data in (("test", test), ("train", train)):
        if data is not None:
            x, y = gather(data, max_examples)
            examples[name] = x, given(vae, y, data)
            found[name] = latent_statistics(vae, examples[name], seed)
            report[name] = _describe(vae, found[name])
    report["test"].update(log_likelihood=None, annealed_importance_sampling=None, aggregate_posterior=None)
    if has_one_tuple(vae):
        test_ids = semantic_ids(vae, examples["test"] if vae.condition is not None else examples["test"][0])
        report["test"]["semantic_ids"] = test_ids.as_dict()
    healthy = found["test"].num_nonfinite == 0
    if healthy and not is_deterministic(vae):
        estimate = log_likelihood(vae, examples["test"], num_samples, seed, verbose, refine_steps)
        report["test"]["log_likelihood"] = _plain(estimate.as_dict())
        if vae.encodes_all and vae.condition is None and found["test"].num_examples > 1:
            aggregate = aggregate_posterior(vae, examples["test"], seed=seed)
            report["test"]["aggregate_posterior"] = _describe_aggregate(aggregate)
        if annealed:
            other = annealed_importance_sampling(vae, examples["test"], seed=seed)
            same = float(estimate.values[: len(other.values)].mean())
            report["test"]["annealed_importance_sampling"] = _plain(
                {**other.as_dict(), "importance_weighted_mean_of_the_same": same}
            )
    if history is None and "train" in found:
        history = {"elbo": [found["train"].elbo], "val_elbo": [found["test"].elbo]}
    x, condition = examples["test"]
    few = slice(diagnosis.SCALE_EXAMPLES)
    findings = diagnosis.examine(vae, found["test"], x[few], history, None if condition is None else condition[few])
    report["findings"] = [finding.as_dict() for finding in findings]
    return report


def _describe(vae: VAE, found: LatentStatistics) -> dict[str, Any]:
    numbers = {
        "num_examples": found.num_examples,
        "elbo": found.elbo,
        "standard_error": found.standard_error,
        "rate": found.rate,
        "distortion": found.distortion,
        "elbo_bits_per_dim": vae.decoder.likelihood.bits_per_dim(found.elbo),
        "kl_is_exact": found.kl_is_exact,
        "kl_per_dim": None if found.kl_per_dim is None else found.kl_per_dim.tolist(),
        "active_units": int(found.active.sum()) if found.num_examples > 1 else None,
        "latent_dim": len(found.active),
        "levels": None if len(found.rates) == 1 else [_describe_level(found, level) for level in set(found.levels)],
    }
    if is_deterministic(vae):
        numbers.update(elbo=None, standard_error=None, rate=None, elbo_bits_per_dim=None, kl_is_exact=None)
    return _plain(numbers)


def _describe_level(found: LatentStatistics, level: int) -> dict[str, Any]:
    mine = found.levels == level
    counts = {"active_units": int(found.active[mine].sum()), "latent_dim": int(mine.sum())}
    return _plain({"level": int(level), "rate": float(found.rates[level - 1]), **counts})


def _describe_aggregate(aggregate: Aggregate) -> dict[str, Any]:
    n = aggregate.num_examples
    limit = f"at most log {n} = {math.log(n):.2f} nats" + (", reached" if aggregate.is_saturated else "")
    text = f"Mutual information and aggregate posterior: mixture of the posteriors of {n} examples ({limit})."
    if aggregate.num_levels > 1:
        text += f" They are of z_1, the top one of {aggregate.num_levels} levels, alone."
    return _plain({**dataclasses.asdict(aggregate), "is_saturated": aggregate.is_saturated, "estimator": text})


def _plain(numbers: dict[str, Any]) -> dict[str, Any]:
    """With None for numbers that JSON does not have."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in numbers.items()
    }


def report_table(report: Mapping[str, Any]) -> rich.console.Group:
    """The report of `evaluate` as a table for people, with the findings below."""
    parts = {name: report[name] for name in ("test", "train") if name in report}
    table = rich.table.Table("", title="nats per example, unless another unit is named")
    for name in parts:
        table.add_column(name, justify="right")
    estimate = report["test"]["log_likelihood"] or {}
    estimator = estimate.get("estimator", IMPORTANCE)
    label_of_estimate = f"log p(x), {estimate.get('num_samples')} {estimator}"
    rests_on_few = bool(estimate.get("is_bound")) and estimator != ELBO
    if estimator == ELBO:
        label_of_estimate = "log p(x) is at least the ELBO"
    if estimate.get("refine_steps"):
        label_of_estimate += " of refined proposals"
    if rests_on_few:
        label_of_estimate += ", at least"
    bits_of_estimate = "  bits per dimension" + (", at most" if rests_on_few else "")
    for label, key, error, digits in (
        ("examples", "num_examples", None, 0),
        ("ELBO", "elbo", "standard_error", 2),
        ("  rate: KL(q(z|x) || p(z))", "rate", None, 2),
        ("  distortion: -log p(x|z)", "distortion", None, 2),
        ("  bits per dimension", "elbo_bits_per_dim", None, 4),
        (label_of_estimate, "log_likelihood.mean", None if rests_on_few else "standard_error", 2),
        (bits_of_estimate, "log_likelihood.bits_per_dim", None, 4),
        ("  effective sample size", "log_likelihood.effective_sample_size", None, 1),
        ("  Monte Carlo error", "log_likelihood.monte_carlo_error", None, 3),
        ("log p(x), annealed, on a subset", "annealed_importance_sampling.mean", "monte_carlo_error", 2),
        (
            "  importance-weighted, the same subset",
            "annealed_importance_sampling.importance_weighted_mean_of_the_same",
            None,
            2,
        ),
        ("active units", "active_units", None, 0),
        ("  of latent dimensions", "latent_dim", None, 0),
        ("mutual information of x and z", "aggregate_posterior.mutual_information", "mutual_information_error", 2),
        ("KL(aggregate posterior || prior)", "aggregate_posterior.marginal_kl", "marginal_kl_error", 2),
        ("  of it, total correlation", "aggregate_posterior.total_correlation", "total_correlation_error", 2),
    ):
        cells = [_cell(part, key, error, digits) for part in parts.values()]
        if any(cells):
            table.add_row(label, *cells)
    if report["test"]["aggregate_posterior"]:
        table.caption = report["test"]["aggregate_posterior"]["estimator"]
    words = [
        rich.text.Text.assemble(
            (f"{'!' if finding['is_harmful'] else '-'} {finding['name'].replace('_', ' ')}", "bold"),
            f": {finding['message']} {finding['remedy']}",
        )
        for finding in report["findings"]
    ]
    words = words or [rich.text.Text("Nothing wrong was found.")]
    if report["test"]["num_examples"] == 1:
        words.append(
            rich.text.Text(
                "There is one test example: active units, mutual information and standard errors need more, and are "
                "left out."
            )
        )
    if estimator != IMPORTANCE:
        words.append(rich.text.Text(ESTIMATORS[estimator]))
    elif rests_on_few:
        words.append(
            rich.text.Text(
                f"log p(x): of {estimate['num_samples']} draws about {estimate['effective_sample_size']:.1f} carry the "
                "estimate. It is a bound: log p(x) is at least that and likely nats higher, and no error can be given "
                "to it. Fit the proposals to each example (refine_steps=300, or --refine-steps 300), take more "
                "samples, or annealed importance sampling (annealed=True, or --annealed), which knows no q(z|x)."
            )
        )
    if ids := report["test"].get("semantic_ids"):
        bits = ", ".join(f"{value:.2f}" for value in ids["entropies_bits"])
        words.append(
            rich.text.Text(
                f"Identifiers: {ids['num_distinct']:,} different ones of {ids['num_examples']:,} test examples, "
                f"{ids['collision_rate']:.2%} share theirs with another. Entropy of the digits: {bits} of at most "
                f"{math.log2(ids['num_codes']):.2f} bits."
            )
        )
    return rich.console.Group(table, *words)


def _cell(part: Mapping[str, Any], key: str, error: str | None, digits: int) -> str:
    group, _, name = key.rpartition(".")
    numbers = (part.get(group) or {}) if group else part
    if numbers.get(name) is None:
        return ""
    plus_minus = f" ± {numbers[error]:.{digits}f}" if error and numbers.get(error) is not None else ""
    return f"{numbers[name]:,.{digits}f}{plus_minus}"
