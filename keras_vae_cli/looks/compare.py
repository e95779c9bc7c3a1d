"""`keras-vae compare`: runs side by side, those that differ in their seed alone as one row."""

import math
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from keras_vae_cli.errors import ConfigError
from keras_vae_cli.looks.runs import Run, flat, read, said

SEED = "train.seed"
# Settings that change no figure.
BESIDE = ("export.", "train.checkpoint_", "train.worker_timeout", "data.data_dir", "train.steps_per_execution")
# Of a table, in characters: a terminal wraps longer lines itself.
WIDTH = 400


class Row(NamedTuple):
    """Runs of the same settings but for the seed.

    Attributes:
        runs: at least one.
        means: of each figure that all of them have; NaN if one of several is not finite.
        errors: standard errors of the means over the seeds, NaN likewise; none of a single run.
        differs: the settings in which the rows differ.
    """

    runs: list[Run]
    means: dict[str, float]
    errors: dict[str, float]
    differs: dict[str, Any]


def summary(paths: Sequence[Path]) -> list[Row]:
    """The runs, grouped, in the order in which they were given.

    Raises:
        ConfigError: for a run that is not finished or damaged, and one that is given twice.
    """
    runs = [read(path) for path in paths]
    for run in runs:
        if not run.is_finished:
            raise ConfigError(f"{run.path} is not finished: leave it out, or let it come to its end first.")
    places = [run.path.resolve() for run in runs]
    twice = next((run.path for run, place in zip(runs, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice} is given twice.")
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(repr(sorted(_deciding(run).items())), []).append(run)
    shared = [_deciding(group[0]) for group in groups.values()]
    # Not those of the first alone: {} has no values.
    names = dict.fromkeys(name for settings in shared for name in settings)
    differing = [name for name in names if any(other.get(name) != shared[0].get(name) for other in shared)]
    return [_row(group, differing) for group in groups.values()]


def _deciding(run: Run) -> dict[str, Any]:
    values = dict(flat(run.settings.model_dump(mode="json")))
    return {name: said(value) for name, value in values.items() if name != SEED and not name.startswith(BESIDE)}


def _row(runs: list[Run], differing: Sequence[str]) -> Row:
    names = [name for name in runs[0].numbers if all(name in run.numbers for run in runs)]
    values = {name: [run.numbers[name] for run in runs] for name in names}
    seeds = {run.settings.train.seed for run in runs}
    # The same seed again is no other draw.
    is_sample = len(seeds) == len(runs) > 1
    return Row(
        runs,
        {name: _mean(found) for name, found in values.items()},
        {name: _error(found) for name, found in values.items()} if is_sample else {},
        {name: _deciding(runs[0]).get(name) for name in differing},
    )


def _mean(values: Sequence[float]) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.fmean(values) if all(map(math.isfinite, values)) else math.nan


def _error(values: Sequence[float]) -> float:
    if not all(map(math.isfinite, values)):
        return math.nan
    return statistics.stdev(values) / math.sqrt(len(values))


def shown(rows: Sequence[Row]) -> str:
    """The same for people: a table with a column for each figure, mean and standard error, and what there is to say."""
    console = Console(width=WIDTH, highlight=False, markup=False, emoji=False, color_system=None)
    with console.capture() as captured:
        console.print(_table(rows))
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join([*lines, *remarks(rows)])


def _table(rows: Sequence[Row]) -> Table:
    made = Table(box=None, pad_edge=False)
    made.add_column("run")
    made.add_column("seeds", justify="right")
    names = list(dict.fromkeys(name for row in rows for name in row.means))
    for name in names:
        made.add_column(name, justify="right")
    for row in rows:
        seeds = " ".join(str(run.settings.train.seed) for run in row.runs)
        made.add_row(_called(row), seeds, *(_figure(row, name) for name in names))
    return made


def remarks(rows: Sequence[Row]) -> list[str]:
    """What differs between the rows, and what makes the comparison unfair."""
    lines = []
    if len(rows) > 1:
        for name in rows[0].differs:
            lines.append(f"{name}: {', '.join(f'{row.differs[name]} ({_called(row)})' for row in rows)}")
    seen = [run.data.get("fingerprint") for row in rows for run in row.runs]
    if len({repr(data) for data in seen}) > 1:
        lines.append("! The runs were trained on different data: their figures are of different test examples.")
    over = " ± is the standard error of the mean over the seeds." if any(row.errors for row in rows) else ""
    return [*lines, f"Figures are of the test examples, in nats for each.{over}"]


def _called(row: Row) -> str:
    names = [str(run.path) for run in row.runs]
    if len(names) == 1:
        return names[0]
    shared = os.path.commonprefix(names)  # noqa: RUF071 - by characters
    return f"{shared}*" if shared else f"{names[0]} and {len(names) - 1} more"


def _figure(row: Row, name: str) -> str:
    if name not in row.means:
        return "-"
    if name not in row.errors:
        return f"{row.means[name]:.4g}"
    error = row.errors[name]
    if not math.isfinite(error):
        return f"{row.means[name]:.4g} ± ?"
    digits = max(0, 1 - math.floor(math.log10(error))) if error > 0 else 2
    return f"{row.means[name]:.{min(digits, 4)}f} ± {error:.{min(digits, 4)}f}"
