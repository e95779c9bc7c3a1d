"""How good a trained model is, in honest units: nats and bits per dimension, each with its error.

evaluation.log_likelihood(vae, test, num_samples=5000)      # importance-weighted log p(x)
evaluation.annealed_importance_sampling(vae, test)          # the same number by an independent way, on a subset
evaluation.evaluate(vae, test, train)                       # everything, JSON-ready
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from keras_vae import codes, diagnosis
from keras_vae.annealing import AnnealedEstimate, annealed_importance_sampling
from keras_vae.features import Clustering, Probe, cluster, linear_probe, probe_table
from keras_vae.importance import LogLikelihood, bits_per_dim, log_likelihood
from keras_vae.reporting import report_table
from keras_vae.vae import VAE

__all__ = [
    "AnnealedEstimate",
    "Clustering",
    "LogLikelihood",
    "Probe",
    "annealed_importance_sampling",
    "bits_per_dim",
    "cluster",
    "evaluate",
    "linear_probe",
    "log_likelihood",
    "probe_table",
    "report_table",
]


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
) -> dict[str, Any]:
    """Everything that can be said about a model in numbers, JSON-ready, in nats per example.

    `report["test"]` (and `report["train"]`, if training data are given, without the expensive estimates) holds

    - `elbo`, its `standard_error`, `rate` (the mean KL) and `distortion` (the mean -log p(x|z)), `elbo_bits_per_dim`;
    - `kl_is_exact`, `kl_per_dim` (None if the KL does not split), `active_units`, `latent_dim`;
    - `log_likelihood`: `mean`, `standard_error`, `num_samples` and the rest of `LogLikelihood`;
    - `annealed_importance_sampling`, if asked for, with the importance-weighted mean of the same examples beside it;
    - `aggregate_posterior`: `mutual_information`, `marginal_kl` and how they were estimated.

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

    Raises:
        ValueError: for data outside the support of the likelihood, and no data.
    """
    report: dict[str, Any] = {}
    found: dict[str, codes.Statistics] = {}
    examples: dict[str, Any] = {}
    for name, data in (("test", test), ("train", train)):
        if data is not None:
            x, y = codes.gather(data, max_examples)
            examples[name] = x, codes.given(vae, y)
            found[name] = codes.statistics(vae, examples[name], seed)
            report[name] = _describe(vae, found[name])
    report["test"].update(log_likelihood=None, annealed_importance_sampling=None, aggregate_posterior=None)
    healthy = found["test"].num_nonfinite == 0
    if healthy and not codes.is_deterministic(vae):
        estimate = log_likelihood(vae, examples["test"], num_samples, seed, verbose)
        report["test"]["log_likelihood"] = _plain(estimate.as_dict())
        if codes.is_flat(vae):
            if vae.condition is None:
                aggregate = codes.aggregate(vae, examples["test"], seed=seed)
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


def _describe(vae: VAE, found: codes.Statistics) -> dict[str, Any]:
    numbers = {
        "num_examples": found.num_examples,
        "elbo": found.elbo,
        "standard_error": found.standard_error,
        "rate": found.rate,
        "distortion": found.distortion,
        "elbo_bits_per_dim": bits_per_dim(vae, found.elbo),
        "kl_is_exact": found.kl_is_exact,
        "kl_per_dim": None if found.kl_per_dim is None else found.kl_per_dim.tolist(),
        "active_units": int(found.active.sum()),
        "latent_dim": len(found.active),
    }
    if codes.is_deterministic(vae):
        numbers.update(elbo=None, standard_error=None, rate=None, elbo_bits_per_dim=None, kl_is_exact=None)
    return _plain(numbers)


def _describe_aggregate(aggregate: codes.Aggregate) -> dict[str, Any]:
    n = aggregate.num_examples
    limit = f"at most log {n} = {math.log(n):.2f} nats" + (", reached" if aggregate.is_saturated else "")
    text = f"Mutual information and aggregate posterior: mixture of the posteriors of {n} examples ({limit})."
    return _plain({**dataclasses.asdict(aggregate), "is_saturated": aggregate.is_saturated, "estimator": text})


def _plain(numbers: dict[str, Any]) -> dict[str, Any]:
    """With None for numbers that JSON does not have."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in numbers.items()
    }
