"""Tables of results, as Markdown and JSON, with the machine, the versions and the date."""

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
OWN = ("keras-vae", "tensorflow", "keras", "tensorflow-probability", "numpy", "ai-edge-litert")
PEERS = ("torch", "pythae", "jax")


@dataclasses.dataclass
class Table:
    """Columns of text or numbers, and a few words on what they mean."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence]
    note: str = ""

    def markdown(self) -> str:
        """As a table of Markdown."""
        lines = [f"### {self.title}", ""]
        lines += ["| " + " | ".join(self.columns) + " |", "|" + " --- |" * len(self.columns)]
        lines += ["| " + " | ".join(_text(cell) for cell in row) + " |" for row in self.rows]
        return "\n".join([*lines, *(["", self.note] if self.note else []), ""])


@dataclasses.dataclass(frozen=True)
class Target:
    """A line of the table of targets: what was measured, its spread, and what it should be."""

    what: str
    measured: float
    text: str
    target: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_met(self) -> bool | None:
        """None where there is nothing to reach."""
        if self.at_least is None and self.at_most is None:
            return None
        return (self.at_least is None or self.measured >= self.at_least) and (
            self.at_most is None or self.measured <= self.at_most
        )


def save(section: str, tables: Sequence[Table], targets: Sequence[Target], peers: str | None, quick: bool) -> None:
    """Replace the section in results.json, and write results.md anew from all that it holds."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "results.json"
    known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    known[section] = {
        "date": datetime.date.today().isoformat(),
        "quick": quick,
        "load_average": round(os.getloadavg()[0], 1),
        "machine": machine(),
        "versions": versions(peers),
        "tables": [dataclasses.asdict(table) for table in tables],
        "targets": [{**dataclasses.asdict(target), "met": target.is_met} for target in targets],
    }
    path.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
    (RESULTS / "results.md").write_text(markdown(known), "utf-8")


def markdown(known: dict) -> str:
    """All sections: first the targets in one table, then the tables of each."""
    lines = ["# Results", "", "`python benchmarks/run.py` writes this file. Ratios: median (least to largest).", ""]
    lines += ["| what | measured | target | met |", "| --- | --- | --- | --- |"]
    words = {True: "yes", False: "no", None: ""}
    for section in known.values():
        lines += [f"| {t['what']} | {t['text']} | {t['target']} | {words[t['met']]} |" for t in section["targets"]]
    for name, section in known.items():
        versions_text = ", ".join(f"{package} {version}" for package, version in section["versions"].items())
        kind = " Quick run: a trial, not a measurement." if section["quick"] else ""
        lines += ["", f"## {name}", ""]
        lines += [
            f"{section['date']}, {section['machine']}, load {section['load_average']}. {versions_text}.{kind}",
            "",
        ]
        lines += [Table(**table).markdown() for table in section["tables"]]
    return "\n".join(lines).rstrip() + "\n"


def machine() -> str:
    """Processor, number of cores that may be used, and system."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        names = [
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ]
        model = names[0] if names else model
    return f"{len(os.sched_getaffinity(0))} cores of {model}, {platform.system()}, Python {platform.python_version()}"


def versions(peers: str | None) -> dict[str, str]:
    """Of this package and what it stands on, and of the peers."""
    found = {name: importlib.metadata.version(name) for name in OWN}
    if peers is not None:
        code = f"import importlib.metadata as m; print(*(m.version(n) for n in {PEERS}))"
        answer = subprocess.run([peers, "-c", code], capture_output=True, text=True, check=True)
        found.update(zip(PEERS, answer.stdout.split(), strict=True))
    return found


def _text(cell: object) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)
