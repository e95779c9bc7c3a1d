"""What can be done with a run folder: open its data and model, evaluate, draw and export it."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from keras_vae import data, evaluation, pictures
from keras_vae.config import Settings, read
from keras_vae.export import export_run
from keras_vae.export.run import FORMATS
from keras_vae.vae import VAE
from keras_vae_cli.errors import ConfigError

CONFIG, MODEL, HISTORY, REPORT, PICTURES = "config.yaml", "vae.keras", "history.csv", "report.json", "pictures"
# Pictures look at no more than this many test examples, the gap to training at no more than this many training ones.
SHOWN, MAX_TRAIN = 2000, 10_000


def open_data(settings: Settings) -> data.Splits:
    """The data that the settings name, with labels where there are any."""

    def opened(labels: bool) -> data.Splits:
        return data.open_source(
            settings.data.name or Path(settings.data.path or ""),
            binarize=settings.data.binarize,
            seed=settings.train.seed,
            labels=labels,
            validation_split=settings.data.validation_split,
            test_split=settings.data.test_split,
            resize=settings.data.resize,
            data_dir=settings.data.data_dir,
            on_bad_file=settings.data.on_bad_file,
            batch_size=settings.data.batch_size,
        )

    # Whatever is wrong beyond missing labels is said by the second attempt.
    with contextlib.suppress(ValueError):
        return opened(labels=True)
    return opened(labels=False)


def load_model(run: Path) -> VAE:
    """The model of a run.

    Raises:
        ConfigError: if the run has not got that far.
    """
    path = run / MODEL
    if not path.is_file():
        raise ConfigError(f"{run} holds no {MODEL} yet: let keras-vae train finish first.")
    return keras.saving.load_model(path, compile=False)


def plot(run: Path) -> None:
    """Draw the pictures of a run anew."""
    console = _console()
    settings = read(run)
    draw(run, load_model(run), open_data(settings).test, console)


def draw(run: Path, vae: VAE, test: data.Arrays, console: Console) -> None:
    """Every picture that applies to the model, in RUN/pictures."""
    shown = test.subset(range(min(len(test), SHOWN))).dataset(256)
    history = run / HISTORY
    written = pictures.all_pictures(
        vae, shown, history=history if history.is_file() else None, directory=run / PICTURES
    )
    console.print(f"{len(written)} pictures in {run / PICTURES}: {', '.join(path.stem for path in written)}")


def evaluate(run: Path, num_samples: int = 5000, seed: int = 0, limit: int | None = None) -> None:
    """Evaluate the model of a run on its test data, and add what is found to RUN/report.json."""
    console = _console()
    settings = read(run)
    vae, splits = load_model(run), open_data(settings)
    batch_size, history = settings.data.batch_size, run / HISTORY
    few = splits.train.subset(range(min(len(splits.train), MAX_TRAIN)))
    found = evaluation.evaluate(
        vae,
        splits.test.dataset(batch_size),
        few.dataset(batch_size),
        pictures.read_history(history) if history.is_file() else None,
        num_samples=num_samples,
        max_examples=limit,
        seed=seed,
        verbose=console.is_terminal,
    )
    update_report(run, **found)
    console.print(evaluation.report_table(found))
    console.print(f"Written to {run / REPORT}.")


def export(
    run: Path,
    formats: Sequence[str] | None = None,
    quantizations: Sequence[str] | None = None,
    version: int | None = None,
) -> None:
    """Export the model of a run into RUN/export; None means what its config says, or both formats if that says none."""
    settings = read(run)
    load_model(run)
    export_run(run, formats or settings.export.formats or FORMATS, quantizations or settings.export.quantize, version)


def update_report(run: Path, **sections: Any) -> None:
    """Add or replace sections of RUN/report.json."""
    path = run / REPORT
    report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_text(path, json.dumps({**report, **sections}, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file such that `path` always holds a whole one."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file such that `path` always holds a whole one."""
    temporary = path.with_name(f".writing-{path.name}")
    temporary.write_bytes(content)
    temporary.replace(path)


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)
