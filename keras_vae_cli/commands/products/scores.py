"""`keras-vae score`: is this one normal? In Python: `evaluation.scores(vae, x)`."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from rich.console import Console

from keras_vae import data, evaluation, files, pictures
from keras_vae.data.readers import array_files, tables
from keras_vae.evaluation.normality.held_out import HeldOut
from keras_vae.evaluation.normality.kinds import (
    COMPLEXITY,
    NUM_SAMPLES,
    TYPICALITY,
    all_scores,
    kinds_of,
    refuse_kind,
    typical,
)
from keras_vae.evaluation.normality.terms import ELBO, LOG_PROB, RECONSTRUCTION
from keras_vae.models.vae import VAE
from keras_vae_cli.commands import run_folder
from keras_vae_cli.commands.products.gathered import gathered
from keras_vae_cli.commands.products.given import Given, read_given
from keras_vae_cli.commands.products.opened import Opened, open_model
from keras_vae_cli.commands.products.written import write_arrays, write_picture
from keras_vae_cli.commands.progress import counted
from keras_vae_cli.errors import ConfigError

# Held-out examples that are scored, no more of them than so many seconds allow, and in blocks.
HELD_OUT, SECONDS, BLOCK = 1000, 20.0, 100
# In RUN/report.json.
SECTION = "scores"
# In a picture.
LOWEST = 16


def of_held_out(
    vae: VAE, splits: data.Splits, console: Console, num_samples: int = NUM_SAMPLES, seed: int = 0
) -> dict[str, Any] | None:
    """What scores held-out examples have, JSON-ready, for RUN/report.json; None for a model that has none.

    Of validation examples if there are any, else of test examples.
    """
    kinds = kinds_of(vae)
    if not kinds:
        return None
    of = "validation" if splits.validation else "test"
    examples = run_folder.some(splits.validation or splits.test, HELD_OUT)
    parts: list[dict[str, np.ndarray]] = []
    begun = time.monotonic()
    for first in range(0, len(examples), BLOCK):
        block = examples.subset(range(first, min(first + BLOCK, len(examples)))).dataset(BLOCK)
        parts.append(all_scores(vae, block, num_samples, seed, COMPLEXITY in kinds))
        if time.monotonic() - begun > SECONDS:
            break
    values = {kind: np.concatenate([part[kind] for part in parts]) for kind in parts[0]}
    if LOG_PROB in values:
        values[TYPICALITY] = typical(values[LOG_PROB], float(values[LOG_PROB].mean()))
    if not all(np.isfinite(found).all() for found in values.values()):
        console.print("Some held-out examples have no finite score, so that none are kept for `keras-vae score`.")
        return None
    found = {kind: HeldOut.of(values[kind]).as_dict() for kind in kinds}
    return {"of": of, "num_samples": num_samples, "seed": seed, "held_out": found}


def score(
    run: Path,
    paths: Sequence[str],
    output: Path,
    kind: str | None = None,
    num_samples: int = NUM_SAMPLES,
    seed: int = 0,
    quantile: float = 0.01,
    normal: Sequence[str] | None = None,
    condition: Sequence[str] | None = None,
    force: bool = False,
) -> None:
    """Write a score for each example, and its rank among held-out ones.

    Args:
        run: folder or .keras file.
        paths: of the data, as they were typed; none for the test examples of the run.
        output: a file that ends in .csv, .npz, .npy or .png.
        kind: one of `evaluation.normality.KINDS`; None for the first that the model has.
        num_samples: draws for each example.
        seed: of the draws.
        quantile: share of held-out examples below the threshold.
        normal: names of the classes that are normal.
        condition: as it was typed.
        force: whether a file that is there gives way.

    Raises:
        ConfigError: for a kind that the model does not have, and data, classes or a condition that it cannot take.
    """
    files.check_folder(output.parent)
    opened = open_model(run)
    vae, console = opened.vae, opened.console
    kinds = kinds_of(vae)
    if kind is None:
        kind = ELBO if ELBO in kinds else RECONSTRUCTION
    refuse_kind(vae, kind)
    given = read_given(opened, paths, condition, np.random.default_rng(seed))
    labels = None if normal is None else _labels(given, paths)
    if normal is not None:
        _check_classes(normal, labels)
    held_out = _held_out(opened, num_samples, seed)
    mean = _typical_mean(opened, held_out) if kind == TYPICALITY else None
    is_picture, scored = output.suffix.lower() == ".png", LOG_PROB if mean is not None else kind
    with gathered(len(given), output.parent) as made:
        with counted(console, "scoring", len(given)) as move:
            for x, c in given.batches():
                batch = x if c is None else (x, c)
                made.add(scores=all_scores(vae, batch, num_samples, seed, kind == COMPLEXITY)[scored])
                made.add(examples=x if is_picture else None)
                move(len(x))
        found = made["scores"] if mean is None else typical(made["scores"], mean)
        own = None if held_out is None else held_out.get(kind)
        limit = None if own is None else own.threshold(quantile)
        ranks = None if own is None else own.ranks(found)
        is_normal = None if limit is None else (found >= limit).astype(int)
        if is_picture:
            figure = pictures.scores(found, own, made["examples"], limit, kind, given.names, n=LOWEST)
            write_picture(output, figure, force)
        else:
            names = np.array([str(k) for k in range(len(given))] if given.names is None else given.names)
            columns = {"scores": found, "names": names, "ranks": ranks, "normal": is_normal, "labels": labels}
            write_arrays(output, columns, force)
    console.print(f"{output}: {kind} of {len(given):,} of {given.source}, in nats: the higher, the more normal.")
    if is_normal is not None and own is not None:
        below = len(found) - int(is_normal.sum())
        console.print(
            f"{below:,} score below {limit:.6g}, which {quantile:.2%} of {own.num_examples:,} held-out examples do: "
            "they are not normal."
        )
    if normal is not None and labels is not None:
        good = np.isin(labels, list(normal))
        console.print(str(evaluation.detection(found[good], found[~good])))


def _labels(given: Given, paths: Sequence[str]) -> np.ndarray:
    """The name of the class of each example: its folder, or the label beside it."""
    if given.names is not None:
        return np.array([PurePath(name).parent.name for name in given.names])
    path = Path(paths[0]).expanduser() if len(paths) == 1 else Path()
    found: Mapping[str, np.ndarray] = {}
    if path.suffix.lower() == ".csv":
        found = tables.read_table(path, missing=True)
    elif path.suffix.lower() == ".npz":
        found = array_files.read_arrays(path, labels=True, images=False)
    keys = [key for key in array_files.LABEL_KEYS["train"] if key in found]
    if not keys or len(found[keys[0]]) != len(given):
        raise ConfigError(
            "--normal needs labels: class folders of images, a column label in a .csv file, or an array labels in a "
            ".npz file."
        )
    return np.asarray(found[keys[0]]).reshape(len(given)).astype(str)


def _check_classes(normal: Sequence[str], labels: Any) -> None:
    classes = sorted(set(labels))
    unknown = [name for name in normal if name not in classes]
    if unknown:
        raise ConfigError(f"--normal {unknown[0]}: the classes of the data are {', '.join(classes)}.")
    if set(normal) == set(classes):
        raise ConfigError("--normal: all of the data are of these classes, so that there is nothing to tell from them.")


def _held_out(opened: Opened, num_samples: int, seed: int) -> dict[str, HeldOut] | None:
    """The scores of held-out examples of the run: those of its report, or found now; None of a file."""
    if opened.settings is None:
        opened.console.print(
            f"{opened.run} is a file, and only a run folder knows held-out examples: there are scores, but no ranks."
        )
        return None
    section = run_folder.read_report(opened.run).get(SECTION)
    try:
        if section and (section["num_samples"], section["seed"]) == (num_samples, seed):
            return {kind: HeldOut.from_dict(numbers) for kind, numbers in section["held_out"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        opened.console.print(f"{run_folder.REPORT} has damaged scores: those of held-out examples are made anew.")
    _, _, splits = run_folder.open_run(opened.run, opened.console)
    found = of_held_out(opened.vae, splits, opened.console, num_samples, seed)
    return None if found is None else {k: HeldOut.from_dict(numbers) for k, numbers in found["held_out"].items()}


def _typical_mean(opened: Opened, held_out: Mapping[str, HeldOut] | None) -> float:
    if held_out is not None and LOG_PROB in held_out:
        return held_out[LOG_PROB].mean
    raise ConfigError(
        f"--kind {TYPICALITY} compares with held-out examples, which {opened.run} does not know: give the run folder."
    )
