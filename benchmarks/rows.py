"""What benchmarks/configs.py has measured: rows in results.json, and the tables made of them.

A row is a mapping: config, metric, promise, sign, seed, value, met, the minutes of the training on the processor and on
the clock, data, what was set, commit, date, machine and versions.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import promises
import report

PUBLISHED = report.RESULTS / "configs.json"


class Results:
    """RUNS/results.json: what was measured, and the minutes that trainings took. Each change is written at once."""

    def __init__(self, runs: Path) -> None:
        self.runs, self.path = runs, runs / "results.json"
        self.rows: list[dict[str, Any]] = []
        self.minutes: dict[str, dict[str, float]] = {}
        self.read()

    def read(self) -> None:
        """What stands there now: another process may have added to it."""
        if self.path.exists():
            found = json.loads(self.path.read_text(encoding="utf-8"))
            self.rows, self.minutes = found["rows"], found["minutes"]

    def find(self, name: str, metric: str, seed: int, overrides: Sequence[str]) -> dict[str, Any] | None:
        """The row of a measurement of such a run; None if there is none."""
        key = {"config": name, "metric": metric, "seed": seed, "set": list(overrides)}
        return next((row for row in self.rows if key.items() <= row.items()), None)

    def add(self, row: dict[str, Any]) -> None:
        """Add a row, in the place of one of the same run and measure."""
        self.read()
        self.rows = replaced(self.rows, [row])
        self._write()

    def add_minutes(self, run: Path, processor: float, clock: float) -> None:
        """Add what a training took to what it had taken before it was interrupted."""
        self.read()
        spent = self.minutes.setdefault(str(run.relative_to(self.runs)), {"processor": 0.0, "clock": 0.0})
        spent["processor"] += processor
        spent["clock"] += clock
        self._write()

    def _write(self) -> None:
        write(self.path, json.dumps({"rows": self.rows, "minutes": self.minutes}, indent=1) + "\n")


def replaced(rows: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the new ones in the place of those of the same config, measure, sign and seed."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["config"], row["metric"], row["sign"], row["seed"]

    taken = {key(row) for row in new}
    return [row for row in rows if key(row) not in taken] + new


def write(path: Path, text: str) -> None:
    """Replace a file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".new").write_text(text, encoding="utf-8")
    path.with_suffix(".new").replace(path)


def markdown(rows: list[dict[str, Any]], remarks: Sequence[tuple[str, str]] = ()) -> str:
    """A table: a line for each config and promise, all seeds in it, and a line for each remark on a config."""
    lines = ["| config | promise | measured | seeds | | processor, min | clock, min | on | date, commit |"]
    lines.append("|" + " --- |" * 9)
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["config"], row["promise"]), []).append(row)
    for (name, promise), found in groups.items():
        found.sort(key=lambda row: row["seed"])
        cells = [name, promise]
        cells += [", ".join(f"{row['value']:.4g}" for row in found), ", ".join(str(row["seed"]) for row in found)]
        cells.append("met" if all(row["met"] for row in found) else "**NOT met**")
        for kind in ("processor_minutes", "minutes"):
            known = [row[kind] for row in found if row[kind] is not None]
            cells.append(f"{sum(known) / len(known):.1f}" if known else "")
        cells.append(found[0]["data"])
        cells.append(", ".join(dict.fromkeys(f"{row['date']} {row['commit']}" for row in found)))
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"| {name} | {remark} |" + "  |" * 7 for name, remark in remarks]
    return "\n".join(lines) + "\n"


def page(rows: list[dict[str, Any]], remarks: Sequence[tuple[str, str]] = ()) -> str:
    """The table with a heading, and what it was made with."""
    made = dict.fromkeys(
        f"{row['machine']}; " + ", ".join(f"{package} {version}" for package, version in row["versions"].items())
        for row in rows
    )
    text = "# What the configs promise, and what was measured\n\n`python benchmarks/configs.py` writes this file. "
    text += "A promise is met if every seed meets it. Minutes are those of one training, the mean over the seeds.\n\n"
    return text + markdown(rows, remarks) + "".join(f"\n{line}.\n" for line in made)


def publish(rows: list[dict[str, Any]]) -> None:
    """Put rows into benchmarks/results/, where those of other configs stay: without the places of this machine."""
    known = json.loads(PUBLISHED.read_text(encoding="utf-8")) if PUBLISHED.exists() else []
    all_rows = replaced(known, [{key: value for key, value in row.items() if key != "set"} for row in rows])
    all_rows.sort(key=lambda row: (promises.names().index(row["config"]), row["metric"], row["seed"]))
    write(PUBLISHED, json.dumps(all_rows, indent=1) + "\n")
    write(PUBLISHED.with_suffix(".md"), page(all_rows))
