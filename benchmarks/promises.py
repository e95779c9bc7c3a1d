"""What the configs promise: the lines of their heads that a program can check.

A config begins with a comment, its head, and the head has lines of this form, one or more:

    # Promise: test_elbo >= -23.9 (measured -23.37, -23.41, -23.29 with seeds 0, 1, 2; 0.5 min of one core; 2026-11-26)

- `test_elbo` is what is measured, by the file of that name in benchmarks/measures/. `>=` or `<=`, and a number.
- `measured` has a number for each seed; every one of them must keep the promise. Those are the seeds that
  benchmarks/configs.py trains.
- How many minutes one training took, in words that say of what: "4 min of one core".
- The date. Behind it may stand a remark: "; 2026-11-26; on 10,000 CIFAR-10 images as JPEGs".

Of a config whose data were never at hand: `(not measured: why)`, and it is trained with seed 0. A line that is too long
goes on in the next one, up to the closing parenthesis.

    python benchmarks/promises.py

writes the table of all of them anew into docs/training.md.
"""

import dataclasses
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIGS, MEASURES = ROOT / "configs", Path(__file__).resolve().parent / "measures"
PAGE, BEGINNING, END = ROOT / "docs" / "training.md", "<!-- promises -->\n", "<!-- end of promises -->\n"
FORM = "# Promise: METRIC >= NUMBER (measured X, Y with seeds 0, 1; N min of one core; 2026-11-26)"

_BEGINNING = re.compile(r"#\s*promise:", re.IGNORECASE)
_NUMBER = r"-?\d+(?:\.\d+)?"
_LINE = re.compile(rf"Promise: (?P<metric>[a-z]\w*) (?P<sign>>=|<=) (?P<number>{_NUMBER}) \((?P<evidence>.*)\)")
_MEASURED = re.compile(
    rf"measured (?P<values>{_NUMBER}(?:, {_NUMBER})*) with seeds? (?P<seeds>\d+(?:, \d+)*); "
    rf"(?P<minutes>{_NUMBER} min [^;]+); (?P<date>\d{{4}}-\d\d-\d\d)(?:; (?P<remark>.+))?"
)
_NOT_MEASURED = re.compile(r"not measured: (?P<remark>.+)")


class HeadError(ValueError):
    """A head of a config that is not of the form."""


@dataclasses.dataclass(frozen=True)
class Promise:
    """One promise of a config.

    Attributes:
        metric: the name of the measure.
        sign: ">=" or "<=".
        number: what is to be reached.
        seeds: those that it was measured with, and is.
        measured: the numbers that were found, one for each seed; none if it was never measured.
        minutes: how long one training took, in words; "" if not measured.
        date: of the measurement; "" if not measured.
        remark: what else is said.
    """

    metric: str
    sign: str
    number: float
    seeds: tuple[int, ...] = (0,)
    measured: tuple[float, ...] = ()
    minutes: str = ""
    date: str = ""
    remark: str = ""

    def is_met(self, value: float) -> bool:
        """Whether a number that was measured keeps the promise; NaN does not."""
        return value >= self.number if self.sign == ">=" else value <= self.number

    def __str__(self) -> str:
        return f"{self.metric} {self.sign} {self.number:g}"


def names() -> list[str]:
    """All configs, by the names that `keras-vae train` knows; those of `reproduce/` last."""
    found = sorted(str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml"))
    return sorted(found, key=lambda name: "/" in name)


def of(name: str) -> tuple[Promise, ...]:
    """The promises of a config by name; none if its head makes none.

    Raises:
        HeadError: if a line is not of the form, with the line and what is wrong.
    """
    return parse((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"), f"configs/{name}.yaml")


def parse(text: str, source: str) -> tuple[Promise, ...]:
    """The promises in the text of a config.

    Args:
        text: the whole file.
        source: what it is called in errors.

    Raises:
        HeadError: as `of`.
    """
    lines = text.splitlines()
    length = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    late = [i for i, line in enumerate(lines) if i >= length and _BEGINNING.search(line)]
    if late:
        raise HeadError(f"{source}, line {late[0] + 1}: a promise stands in the head, before the first setting.")
    found, i = [], 0
    while i < length:
        if _BEGINNING.match(lines[i]):
            first, promise = i, lines[i].removeprefix("# ")
            while not promise.endswith(")") and i + 1 < length and not _BEGINNING.match(lines[i + 1]):
                i += 1
                promise += " " + lines[i].lstrip("# ")
            found.append(_promise(promise, f"{source}, line {first + 1}"))
        i += 1
    return tuple(found)


def _promise(line: str, where: str) -> Promise:
    match = _LINE.fullmatch(line)
    if match is None:
        raise HeadError(f"{where}: {line!r} is not of the form {FORM}")
    promise = Promise(match["metric"], match["sign"], float(match["number"]))
    if said := _NOT_MEASURED.fullmatch(match["evidence"]):
        return dataclasses.replace(promise, remark=said["remark"])
    said = _MEASURED.fullmatch(match["evidence"])
    if said is None:
        raise HeadError(f"{where}: what stands in parentheses is not of the form {FORM}, or '(not measured: why)'")
    values = tuple(float(value) for value in said["values"].split(", "))
    seeds = tuple(int(seed) for seed in said["seeds"].split(", "))
    if len(values) != len(seeds):
        raise HeadError(f"{where}: {len(values)} numbers with {len(seeds)} seeds; one for each is wanted.")
    promise = dataclasses.replace(
        promise, seeds=seeds, measured=values, minutes=said["minutes"], date=said["date"], remark=said["remark"] or ""
    )
    broken = [value for value in values if not promise.is_met(value)]
    if broken:
        raise HeadError(f"{where}: it promises {promise} and says that {broken[0]:g} was measured.")
    return promise


def table() -> str:
    """What all configs promise beside what was measured, in Markdown."""
    lines = ["| config | promise | measured | with seeds | minutes | date |", "|" + "---|" * 6]
    for name in names():
        for promise in of(name):
            values, seeds = (", ".join(f"{value:g}" for value in found) for found in (promise.measured, promise.seeds))
            cells = [f"`{name}`", str(promise), values, seeds, promise.minutes, promise.date]
            if not promise.measured:
                cells[2:] = [f"not measured: {promise.remark}", "", "", ""]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_table() -> None:
    """Replace the table in the page on training."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGINNING)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGINNING}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    write_table()
