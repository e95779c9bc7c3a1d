"""`keras-vae score`: is this one normal? In Python: `evaluation.scores(vae, x)`."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from keras_vae import data, evaluation, files, pictures
from keras_vae.evaluation.normality.held_out import HeldOut
from keras_vae.evaluation.normality.kinds import (
    COMPLEXITY,
    NUM_SAMPLES,
    TYPICALITY,
    all_scores,
    kinds_of,
    refuse_kind,
    scores,
    typical,
)
from keras_vae.evaluation.normality.regret import REGRET
from keras_vae.evaluation.normality.terms import ELBO, LOG_PROB, RECONSTRUCTION
from keras_vae.models.vae import VAE
from keras_vae_cli.commands import run_folder
from keras_vae_cli.commands.judgements.labels import labels_of, normal_classes
from keras_vae_cli.commands.products.gathered import gathered
from keras_vae_cli.commands.products.given import read_given
from keras_vae_cli.commands.products.opened import Opened, open_model
from keras_vae_cli.commands.products.written import write_arrays, write_picture
from keras_vae_cli.commands.progress import counted
from keras_vae_cli.errors import ConfigError

# Held-out examples that are scored, no more of them than so many seconds allow, and in blocks.
HELD_OUT, SECONDS, BLOCK = 1000, 20.0, 100
# In RUN/report.json.
SECTION = "scores"
LIKELIHOODS = (ELBO, LOG_PROB, RECONSTRUCTION)
# In a picture.
LOWEST = 16


def of_held_out(
    vae: VAE,
    splits: data.Splits,
    console: Console,
    num_samples: int = NUM_SAMPLES,
    seed: int = 0,
    kind: str | None = None,
) -> dict[str, Any] | None:
    """What scores held-out examples have, JSON-ready, for RUN/report.json; None for a model that has none.

    Of validation examples if there are any, else of test examples. Of all kinds that one pass gives, but for `regret`,
    which takes so long that it is made alone, and only if `kind` asks for it.
    """
    kinds = kinds_of(vae) if kind != REGRET else (REGRET,)
    if not kinds:
        return None
    of = "validation" if splits.validation else "test"
    examples = run_folder.some(splits.validation or splits.test, HELD_OUT)
    parts: list[dict[str, np.ndarray]] = []
    begun = time.monotonic()
    for first in range(0, len(examples), BLOCK):
        block = examples.subset(range(first, min(first + BLOCK, len(examples)))).dataset(BLOCK)
        parts.append(_scores_of(vae, block, COMPLEXITY if COMPLEXITY in kinds else kind, num_samples, seed))
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
    labels: str | None = None,
    condition: Sequence[str] | None = None,
    force: bool = False,
) -> None:
    """Write a score for each example, and its rank among held-out ones.

    Args:
        run: folder or .keras file.
        paths: of the data, as they were typed; none for the test examples of the run.
        output: a file that ends in .csv, .npz, .npy or .png.
        kind: one of `evaluation.normality.kinds.KINDS`; None for the first that the model has.
        num_samples: draws for each example.
        seed: of the draws.
        quantile: share of held-out examples below the threshold.
        normal: names of the classes that are normal.
        labels: a file of them, or a column or array of the data's own.
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
    of_examples = None if normal is None and labels is None else labels_of(given.names, len(given), paths, labels)
    if of_examples is not None:
        normal = normal_classes(normal, of_examples)
    held_out = _held_out(opened, kind, num_samples, seed)
    mean = _typical_mean(opened, held_out) if kind == TYPICALITY else None
    is_picture, scored = output.suffix.lower() == ".png", LOG_PROB if mean is not None else kind
    with gathered(len(given), output.parent) as made:
        with counted(console, "scoring", len(given)) as move:
            for x, c in given.batches():
                batch = x if c is None else (x, c)
                made.add(scores=_scores_of(vae, batch, kind, num_samples, seed)[scored])
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
            columns = {"scores": found, "names": names, "ranks": ranks, "normal": is_normal, "labels": of_examples}
            write_arrays(output, columns, force)
    console.print(f"{output}: {kind} of {len(given):,} of {given.source}, in nats: the higher, the more normal.")
    if is_normal is not None and own is not None:
        below = len(found) - int(is_normal.sum())
        console.print(
            f"{below:,} score below {limit:.6g}, which {quantile:.2%} of {own.num_examples:,} held-out examples do: "
            "they are not normal."
        )
    if normal is not None and of_examples is not None:
        good = np.isin(of_examples, list(normal))
        console.print(str(evaluation.detection(found[good], found[~good])))
    if kind in LIKELIHOODS:
        console.print(
            f"By {kind} what is simpler than the normal data, such as a blank picture, may score too high. Against "
            f"that: {' or '.join(f'--kind {other}' for other in (COMPLEXITY, TYPICALITY) if other in kinds)}."
            if COMPLEXITY in kinds or TYPICALITY in kinds
            else f"By {kind} what is simpler than the normal data may score too high."
        )


def _scores_of(vae: VAE, batch: Any, kind: str | None, num_samples: int, seed: int) -> dict[str, np.ndarray]:
    """The scores of a batch by kind: all that one pass gives, or `regret` alone."""
    if kind == REGRET:
        return {REGRET: scores(vae, batch, REGRET, num_samples, seed)}
    return all_scores(vae, batch, num_samples, seed, kind == COMPLEXITY)


def _held_out(opened: Opened, kind: str, num_samples: int, seed: int) -> dict[str, HeldOut] | None:
    """The scores of held-out examples of the run: those of its report, or found now; None of a file."""
    if opened.settings is None:
        opened.console.print(
            f"{opened.run} is a file, and only a run folder knows held-out examples: there are scores, but no ranks."
        )
        return None
    section = run_folder.read_report(opened.run).get(SECTION)
    try:
        if kind != REGRET and section and (section["num_samples"], section["seed"]) == (num_samples, seed):
            return {kind: HeldOut.from_dict(numbers) for kind, numbers in section["held_out"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        opened.console.print(f"{run_folder.REPORT} has damaged scores: those of held-out examples are made anew.")
    _, _, splits = run_folder.open_run(opened.run, opened.console)
    found = of_held_out(opened.vae, splits, opened.console, num_samples, seed, kind)
    return None if found is None else {k: HeldOut.from_dict(numbers) for k, numbers in found["held_out"].items()}


def _typical_mean(opened: Opened, held_out: Mapping[str, HeldOut] | None) -> float:
    if held_out is not None and LOG_PROB in held_out:
        return held_out[LOG_PROB].mean
    raise ConfigError(
        f"--kind {TYPICALITY} compares with held-out examples, which {opened.run} does not know: give the run folder."
    )
