"""What can be done with a run folder: open its data and model, evaluate, draw and export it."""

import contextlib
import json
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from keras_vae import data, evaluation, files, pictures
from keras_vae.evaluation import image_restoration
from keras_vae.export.proof.on_examples.indices import WANTED
from keras_vae.models.storage import untrusted
from keras_vae.models.storage.untrusted import UnsafeFile
from keras_vae.models.vae import VAE
from keras_vae.training.checkpoint_state import run_of
from keras_vae_cli import own_parts
from keras_vae_cli.commands import history, run_data
from keras_vae_cli.commands.build import read
from keras_vae_cli.commands.export import FORMATS, export_run
from keras_vae_cli.commands.judgements import judged
from keras_vae_cli.commands.page import PAGE, write_page
from keras_vae_cli.commands.provenance import in_a_line, provenance
from keras_vae_cli.commands.run_data import open_data
from keras_vae_cli.errors import ConfigError
from keras_vae_cli.settings import Settings

CONFIG, MODEL, HISTORY, REPORT, IDENTITY = "config.yaml", "vae.keras", "history.csv", "report.json", "run.json"
PICTURES, CHECKPOINTS, TENSORBOARD, EXPORT = "pictures", "checkpoints", "tensorboard", "export"
PRETRAINING = "pretraining"
# Training examples on which an encoder in 8 bits is calibrated and compared.
CALIBRATED = 2112
# Pictures look at no more than this many test examples, the gap to training at no more than this many training ones.
SHOWN, MAX_TRAIN = 2000, 10_000
RESTORE = "Put back a copy (the folder's checkpoints hold some), or train anew in another folder."


def check_places(run: Path, *folders: str) -> None:
    """See that a run's files are files and that its folders can be written to, before long work is done for them.

    Args:
        run: the folder, which may be missing.
        folders: those in it that will be written to.

    Raises:
        OSError: naming the place and what to do.
    """
    try:
        str(run.absolute()).encode()
    except UnicodeEncodeError:
        raise ConfigError(f"The name of {run} is no UTF-8, as TensorFlow needs it: give another folder.") from None
    for name in (CONFIG, MODEL, HISTORY, REPORT, IDENTITY, PAGE):
        files.check_file(run / name)
    for folder in (run, *(run / name for name in folders)):
        files.check_folder(folder)


@contextlib.contextmanager
def opened(run: Path, *folders: str) -> Iterator[Console]:
    """The folder for one command alone, which will write to it and to these folders in it; where to print.

    Raises:
        OSError: if it cannot be written to, or another process writes to it.
    """
    check_places(run, *folders)
    with files.locked(run):
        yield make_console()


def check_export(run: Path, formats: Sequence[str]) -> None:
    """See that what is exported into a run folder can be read there.

    Raises:
        ConfigError: for a SavedModel below a name in which TensorFlow, when it loads one, sees a pattern.
    """
    if "saved_model" in formats and set(str(run.absolute())) & set("[]*?"):
        raise ConfigError(
            f"TensorFlow reads no SavedModel below a folder with one of [ ] * ? in its name, such as {run.absolute()}: "
            "give another folder, or export tflite alone (--set export.formats=[tflite], or --format tflite)."
        )


def identify(run: Path) -> str:
    """Give a new run its name, by which it knows its model and its checkpoints wherever the folder is moved."""
    name = uuid.uuid4().hex
    files.write_text(run / IDENTITY, json.dumps({"run": name}) + "\n")
    return name


def identity(run: Path) -> str | None:
    """The name of a run; None if it has none, as those of before had none.

    Raises:
        ConfigError: if the file is damaged.
    """
    path = run / IDENTITY
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["run"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged: put back a copy, or delete it if all in {run} is of one run.") from error


def check_model(run: Path) -> None:
    """See that the model in a run folder is its own.

    Raises:
        ConfigError: if it is another run's, or nobody's.
    """
    own, path = identity(run), run / MODEL
    if own is None or not path.is_file():
        return
    given = run_of(path)
    if given != own and zipfile.is_zipfile(path):
        whose = "of another run" if given else "of no run: it was not written by keras-vae train"
        raise ConfigError(
            f"{path} is a model {whose}. Put back the run's own, and look at this one in its own folder; or delete "
            f"{run / IDENTITY}, if it shall count as the model of this run."
        )


def load_model(run: Path) -> VAE:
    """The model of a run folder, or of a .keras file.

    Raises:
        ConfigError: if the run has not got that far, or the file is damaged or of something else.
    """
    path = run if run.suffix == ".keras" else run / MODEL
    if not path.is_file():
        raise ConfigError(f"{run} holds no {MODEL} yet: let keras-vae train finish first.")
    if path != run:
        check_model(run)
        if (run / CONFIG).is_file():
            own_parts.load_all(read(run).model.model_dump(), run)
    try:
        return untrusted.load(path, compile=False)
    except UnsafeFile as error:
        raise ConfigError(f"{error}\n{RESTORE}") from error


def open_run(
    run: Path, console: Console, data_path: Path | None = None, accept_changes: bool = False
) -> tuple[Settings, VAE, data.Splits]:
    """Settings, model and data of a run that has a model.

    Args:
        run: its folder.
        console: where to write.
        data_path: where the data are now, if not where they were; that is recorded, if they are the same.
        accept_changes: whether to go on with data that the run was not trained on.

    Raises:
        ConfigError: if one of them is missing or damaged, or they do not belong together.
    """

    def write(line: str) -> None:
        console.print(line, markup=False)

    settings = read(run)
    vae, splits = load_model(run), open_data(settings, run, data_path, write)
    made_for, given = tuple(vae.decoder.event_shape), tuple(splits.test.event_shape)
    if made_for != given:
        raise ConfigError(
            f"{run / MODEL} is a model of examples of shape {made_for}, but the data that {run / CONFIG} names, "
            f"{settings.data.name or settings.data.path}, have the shape {given}: they are not of the same run."
        )
    is_same = run_data.check(run, splits, accept_changes, write)
    if splits.class_names and vae.condition is not None and vae.condition.names is None:
        # The model is from before its classes had names.
        with contextlib.suppress(ValueError):
            vae.name_classes(splits.class_names)
    if data_path is not None and is_same:
        run_data.record(run, settings, splits, data_path)
    return settings, vae, splits


def some(examples: data.Arrays, n: int) -> data.Arrays:
    """At most `n` examples, in a random order that is always the same: files often come sorted by class."""
    return examples.subset(np.random.default_rng(0).permutation(len(examples))[:n])


def plot(run: Path, data_path: Path | None = None, accept_changes: bool = False) -> None:
    """Draw the pictures of a run anew; see `open_run`."""
    with opened(run, PICTURES, TENSORBOARD) as console:
        _, vae, splits = open_run(run, console, data_path, accept_changes)
        draw(run, vae, splits.test, console)
        if (run / REPORT).is_file():
            write_page(run)


def draw(run: Path, vae: VAE, test: data.Arrays, console: Console) -> None:
    """Every picture that applies to the model, in RUN/pictures, and the codes for TensorBoard."""
    shown = some(test, SHOWN).dataset(256)
    curves = history.columns(run / HISTORY, console.print)
    written = pictures.all_pictures(vae, shown, history=curves, directory=run / PICTURES, write=console.print)
    pictures.write_projector(vae, shown, run / TENSORBOARD)
    console.print(f"{len(written)} pictures in {run / PICTURES}: {', '.join(path.stem for path in written)}")


def evaluate(
    run: Path,
    num_samples: int = 5000,
    seed: int = 0,
    limit: int | None = None,
    annealed: bool = False,
    data_path: Path | None = None,
    accept_changes: bool = False,
    refine_steps: int = 0,
    samples: int | None = None,
    features: Path | None = None,
) -> None:
    """Evaluate the model of a run on its test data, and add what is found to RUN/report.json; see `open_run`."""
    if features is not None and samples is None:
        raise ConfigError("--features is for --samples N, how many samples are to be judged in them.")
    with opened(run) as console:
        read_report(run)  # a damaged one is better found before the work than after
        settings, vae, splits = open_run(run, console, data_path, accept_changes)
        if samples is not None:
            judged.check(vae, features)
        batch_size = settings.data.batch_size
        few, test = some(splits.train, MAX_TRAIN), some(splits.test, len(splits.test)).dataset(batch_size)
        found = evaluation.evaluate(
            vae,
            test,
            few.dataset(batch_size),
            history.columns(run / HISTORY, console.print),
            num_samples=num_samples,
            max_examples=limit,
            annealed=annealed,
            seed=seed,
            verbose=console.is_terminal,
            refine_steps=refine_steps,
        )
        console.print(evaluation.report_table(found))
        if vae.condition is not None and vae.condition.is_image:
            compared = image_restoration.compare(vae, few.dataset(batch_size), test)
            found["restoration"] = compared
            for name, numbers in compared.items():
                said = (f"{key} {value:.4g}" for key, value in numbers.items() if value is not None)
                console.print(f"{name}: {', '.join(said)}")
        if samples is not None:
            found["samples"] = judged.judge(
                run, vae, few, some(splits.test, limit or len(splits.test)), samples, features, seed, console
            )
        made_by = provenance(
            settings,
            seed=seed,
            num_samples=num_samples,
            limit=limit,
            annealed=annealed,
            refine_steps=refine_steps,
            samples=samples,
        )
        console.print(in_a_line(made_by))
        update_report(run, **found, evaluated_by=made_by)
        write_page(run)
        console.print(f"Written to {run / REPORT}; {run / PAGE} shows all of it.")


def export(
    run: Path,
    formats: Sequence[str] | None = None,
    quantizations: Sequence[str] | None = None,
    version: int | None = None,
    data_path: Path | None = None,
    accept_changes: bool = False,
) -> None:
    """Export the model of a run into RUN/export; None means what its config says, or both formats if that says none.

    It needs no data, but for an encoder in int8, and held-out ones for the indices of codes, in whose place it else
    makes some; those of `data_path` are checked and recorded as by `open_run`.
    """
    with opened(run, EXPORT) as console:
        splits = None
        settings = read(run)
        in_8_bits = "int8" in (quantizations or settings.export.quantize) and "tflite" in (formats or FORMATS)
        if data_path is not None:
            *_, splits = open_run(run, console, data_path, accept_changes)
        elif in_8_bits or settings.model.takes_sizes:
            try:
                *_, splits = open_run(run, console, None, accept_changes)
            except (ValueError, OSError) as error:  # of the data, in whatever way they are not there
                lacks = (
                    "int8 without the encoder, which needs the training data" if in_8_bits else "no held-out examples"
                )
                console.print(f"{lacks}: {error}", markup=False)
        export_again(run, formats, quantizations, version, splits)


def export_again(
    run: Path,
    formats: Sequence[str] | None = None,
    quantizations: Sequence[str] | None = None,
    version: int | None = None,
    splits: data.Splits | None = None,
    vae: VAE | None = None,
) -> None:
    """As `export`, in a folder that is opened already, with the data and the model if they are at hand."""
    settings = read(run)
    wanted = formats or settings.export.formats or FORMATS
    check_export(run, wanted)
    model = load_model(run) if vae is None else vae
    few = held_out = None
    if splits is not None:
        few = some(splits.train, CALIBRATED).dataset(settings.data.batch_size)
        held_out = some(splits.test, WANTED).dataset(settings.data.batch_size)
    export_run(run, wanted, quantizations or settings.export.quantize, version, few, held_out, model)


def read_report(run: Path) -> dict[str, Any]:
    """RUN/report.json, empty if there is none yet.

    Raises:
        ConfigError: if it is damaged.
    """
    path = run / REPORT
    try:
        report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ConfigError(f"{path} is damaged ({error}): delete or mend it, what it lacks is added again.") from error
    if not isinstance(report, dict):
        raise ConfigError(f"{path} is not the report of a run: it holds no mapping. Move it elsewhere.")
    return report


def update_report(run: Path, **sections: Any) -> None:
    """Add or replace sections of RUN/report.json."""
    write_report(run, {**read_report(run), **sections})


def write_report(run: Path, report: dict[str, Any]) -> None:
    """Replace RUN/report.json."""
    files.write_text(run / REPORT, json.dumps(report, indent=2) + "\n")


def make_console(quiet: bool = False) -> Console:
    """Where to print lines as they are: names of files are no markup."""
    return Console(quiet=quiet, highlight=False, soft_wrap=True, markup=False, emoji=False)
