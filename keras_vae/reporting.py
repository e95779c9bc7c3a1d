"""The report of an evaluation for people: a table and the findings in words."""

from collections.abc import Mapping
from typing import Any

import rich.console
import rich.markup
import rich.table

# With a smaller effective sample size an importance-weighted estimate rests on single draws.
FEW = 10.0


def report_table(report: Mapping[str, Any]) -> rich.console.Group:
    """The report of `evaluate` as a table for people, with the findings below."""
    parts = {name: report[name] for name in ("test", "train") if name in report}
    table = rich.table.Table("", title="nats per example, unless another unit is named")
    for name in parts:
        table.add_column(name, justify="right")
    num_samples = (report["test"]["log_likelihood"] or {}).get("num_samples")
    for label, key, error, digits in (
        ("examples", "num_examples", None, 0),
        ("ELBO", "elbo", "standard_error", 2),
        ("  rate: KL(q(z|x) || p(z))", "rate", None, 2),
        ("  distortion: -log p(x|z)", "distortion", None, 2),
        ("  bits per dimension", "elbo_bits_per_dim", None, 4),
        (f"log p(x), {num_samples} importance samples", "log_likelihood.mean", "standard_error", 2),
        ("  bits per dimension", "log_likelihood.bits_per_dim", None, 4),
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
        f"[bold]{'!' if finding['is_harmful'] else '-'} {finding['name'].replace('_', ' ')}[/bold]: "
        f"{rich.markup.escape(finding['message'])} {rich.markup.escape(finding['remedy'])}"
        for finding in report["findings"]
    ]
    words = words or ["Nothing wrong was found."]
    estimate = report["test"]["log_likelihood"]
    if estimate and estimate["effective_sample_size"] < FEW:
        words.append(
            f"log p(x): of {estimate['num_samples']} draws about {estimate['effective_sample_size']:.1f} carry the "
            "estimate. It is a lower bound, the truth is likely higher and the Monte Carlo error larger: take more "
            "samples, or check it with annealed importance sampling."
        )
    return rich.console.Group(table, *words)


def _cell(part: Mapping[str, Any], key: str, error: str | None, digits: int) -> str:
    group, _, name = key.rpartition(".")
    numbers = (part.get(group) or {}) if group else part
    if numbers.get(name) is None:
        return ""
    plus_minus = f" ± {numbers[error]:.{digits}f}" if error and numbers.get(error) is not None else ""
    return f"{numbers[name]:,.{digits}f}{plus_minus}"
