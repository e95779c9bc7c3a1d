"""What an export or a verification found: checks, measured errors, files; as JSON and as a table."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from keras_vae.export.errors import VerificationError

FILE = "export.json"
HARMLESS = "harmless operations"
_LARGEST_RECORD = 2**24


@dataclass(frozen=True)
class Check:
    """One check: what was looked at, whether it passed, what was found."""

    name: str
    passed: bool
    detail: str = ""


@dataclass
class Report:
    """The outcome of an export or a verification.

    Attributes:
        path: the version folder or the `.tflite` file.
        format: `saved_model` or `tflite`.
        facts: what the export knows of the model.
        checks: every check, failed ones too.
        errors: signature -> measurement -> largest error, |served - eager| / max(1, |eager|), dimensionless.
        milliseconds: signature -> batch size -> milliseconds per row, median, in the fresh process.
        left_out: signature -> why the model cannot have it.
        notes: what the user should know.
        files: relative path -> bytes and sha256.
        encoder: of a second file with the encoder, or None.
    """

    path: Path
    format: str
    facts: dict[str, Any] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    milliseconds: dict[str, dict[str, float]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    encoder: "Report | None" = None

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def harmless(self) -> bool:
        """Whether the file may be run: it holds no operation but those that are known to do no harm."""
        return all(check.passed for check in self.checks if check.name == HARMLESS)

    def not_run(self, signatures: Iterable[str]) -> "Report":
        """The report itself, in which these signatures were not run."""
        self.checks += [Check(f"runs {name}", False, "not run") for name in sorted(signatures)]
        return self

    @property
    def bytes(self) -> int:
        """Size of all files, in bytes."""
        return sum(entry["bytes"] for entry in self.files.values())

    def require(self, what: str, remedy: str = "") -> "Report":
        """The report itself.

        Args:
            what: was checked, for the message.
            remedy: the end of the message.

        Raises:
            VerificationError: a check failed; the message lists each failure.
        """
        failed = [f"  {check.name}: {check.detail}" for check in self.checks if not check.passed]
        if failed:
            lines = [f"{what} failed {len(failed)} of {len(self.checks)} checks:", *failed]
            raise VerificationError("\n".join(lines) + remedy, self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Everything but the path, ready for JSON."""
        return {
            "format": self.format,
            **self.facts,
            "signatures": self.errors and sorted(self.errors),
            "left_out": self.left_out,
            "notes": self.notes,
            "checks": [{"name": c.name, "passed": c.passed, "detail": c.detail} for c in self.checks],
            "errors": self.errors,
            "milliseconds_per_row": self.milliseconds,
            "files": self.files,
        }

    @property
    def largest_error(self) -> float | None:
        """The largest error of any signature, None if nothing was compared."""
        measured = [value for errors in self.errors.values() for value in errors.values()]
        return max(measured) if measured else None

    def print(self, console: Console | None = None) -> None:
        """One line for each signature, then every failed check, on the terminal."""
        console = console or Console()
        passed = sum(check.passed for check in self.checks)
        console.print(
            f"{self.path}: {self.bytes:,} bytes, {passed} of {len(self.checks)} checks passed", highlight=False
        )
        table = Table("signature", *(Column(text, justify="right") for text in _HEADINGS[1:]))
        for name, errors in self.errors.items():
            times = self.milliseconds.get(name, {})
            table.add_row(name, _error(max(errors.values(), default=None)), *_times(times))
        console.print(table)
        self._print_remarks(console)

    def _print_remarks(self, console: Console) -> None:
        for name, reason in self.left_out.items():
            console.print(f"  without the signature {name}: {reason}", highlight=False)
        for note in self.notes:
            console.print(f"  {note}", highlight=False)
        for check in self.checks:
            if not check.passed:
                console.print(f"  [red]failed[/red] {check.name}: {check.detail}", highlight=False)


_HEADINGS = ("bytes", "largest error", "ms/row at 1", "ms/row at 64")


def print_reports(reports: list[Report], root: Path, console: Console | None = None) -> None:
    """One line for each export below the folder ``root``, then what the user should know of each."""
    console = console or Console()
    table = Table("export", *(Column(text, justify="right") for text in _HEADINGS))
    for report in reports:
        fastest: dict[str, float] = {}
        for name in ("encode_1", "encode_64", "serving_default", "decode", "decode_1", "decode_64"):
            fastest |= report.milliseconds.get(name, {})
        table.add_row(
            str(report.path.relative_to(root)), f"{report.bytes:,}", _error(report.largest_error), *_times(fastest)
        )
    console.print(f"Exported to {root}", highlight=False)
    console.print(table)
    for report in reports:
        if report.format == "saved_model":
            console.print(f"How to serve it: {report.path.parent / 'SERVING.md'}", highlight=False)
    for report in reports:
        if report.left_out or report.notes:
            console.print(f"{report.path.relative_to(root)}:", highlight=False)
            report._print_remarks(console)


def _error(value: float | None) -> str:
    return "not compared" if value is None else f"{value:.1e}"


def _times(milliseconds: dict[str, float]) -> list[str]:
    return [f"{milliseconds[rows]:.2g}" if rows in milliseconds else "" for rows in ("1", "64")]


def measure_files(root: Path, files: list[Path]) -> dict[str, dict[str, Any]]:
    """Size in bytes and sha256 of each file, by its path relative to ``root``."""
    return {
        file.relative_to(root).as_posix(): {
            "bytes": file.stat().st_size,
            "sha256": _sha256(file),
        }
        for file in sorted(files)
    }


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def recorded(root: Path, *names: str) -> dict[str, Any] | None:
    """What ``export.json`` in a folder says below these names, such as the files of an export; None if it has nothing.

    Raises:
        ValueError: it is no such record.
    """
    file = root / FILE
    if not file.is_file():
        return None
    try:
        if file.stat().st_size > _LARGEST_RECORD:
            raise ValueError(f"it has {file.stat().st_size:,} bytes")
        found = json.loads(file.read_text(encoding="utf-8"))
        for name in names:
            if not isinstance(found, dict):
                raise ValueError(f"{name!r} is not in a mapping")
            if name not in found:
                return None
            found = found[name]
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{FILE} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{FILE} cannot be read: {names[-1]!r} is no mapping")
    return found


def check_recorded(root: Path, *names: str) -> list[Check]:
    """Whether files are those that the export wrote down below these names of ``export.json``, if it did."""
    try:
        entries = recorded(root, *names)
        if entries is None:
            return []
        changed = [name for name, entry in entries.items() if _is_changed(root, name, entry)]
    except ValueError as error:
        return [Check(FILE, False, str(error))]
    return [Check(FILE, not changed, f"changed since the export: {', '.join(changed[:4])}" if changed else "")]


def _is_changed(root: Path, name: str, entry: Any) -> bool:
    file = root / name
    if not file.is_file() or ".." in Path(name).parts or Path(name).is_absolute() or not isinstance(entry, dict):
        return True
    return _sha256(file) != entry.get("sha256")


def dump(content: dict[str, Any]) -> str:
    """JSON as written to ``export.json``."""
    return json.dumps(content, indent=2, default=float) + "\n"
