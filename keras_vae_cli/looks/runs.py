"""What run folders say of themselves, read without TensorFlow."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from keras_vae_cli import settings
from keras_vae_cli.errors import ConfigError

# Of a report.
SECTIONS = ("training", "test", "trained_by")


class Run(NamedTuple):
    """What a run folder holds beside its model.

    Attributes:
        path: of the folder.
        settings: every resolved value.
        report: of training and evaluation; empty of a run that is not so far.
        data: what it was trained on; empty of runs from before that was recorded.
    """

    path: Path
    settings: settings.Settings
    report: dict[str, Any]
    data: dict[str, Any]

    @property
    def is_finished(self) -> bool:
        """Whether training has come to its end."""
        return bool(self.report.get("finished"))

    @property
    def numbers(self) -> dict[str, float]:
        """The figures of the report that runs are compared by, in nats per example; those that there are."""
        training, test = self.report.get("training", {}), self.report.get("test", {})
        found = {
            "elbo": training.get("test_elbo"),
            "log_likelihood": training.get("test_log_likelihood"),
            "kl": training.get("test_kl"),
            "log p(x)": (test.get("log_likelihood") or {}).get("mean"),
            "bits/dim": (test.get("log_likelihood") or {}).get("bits_per_dim"),
            "active units": test.get("active_units"),
            "seconds": training.get("seconds"),
        }
        return {name: float(value) for name, value in found.items() if isinstance(value, (int, float))}


def read(path: Path) -> Run:
    """A run folder.

    Raises:
        ConfigError: if its config, report or record of the data is damaged.
    """
    found = settings.load(path / "config.yaml")
    report = {name: value for name, value in _read(path / "report.json").items() if value is not None}
    wrong = next((name for name in SECTIONS if not isinstance(report.get(name, {}), dict)), None)
    if wrong is not None:
        raise ConfigError(f"{path / 'report.json'} is damaged: {wrong} is no mapping: put back a copy, or delete it.")
    return Run(path, found, report, _read(path / "data.json"))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ConfigError(f"{path} is damaged ({error}): put back a copy, or delete it.") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is damaged: it holds no mapping.")
    return found


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values in a config by their full names, a part with its arguments as one."""
    if isinstance(value, dict) and not (name.count(".") and "name" in value):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value


def said(part: Any) -> str:
    """A part of a config as one would call it."""
    if not isinstance(part, dict) or "name" not in part:
        return str(part)
    inner = ", ".join(f"{name}={said(value)}" for name, value in part.items() if name != "name" and value is not None)
    return f"{part['name']}({inner})" if inner else str(part["name"])
