"""`keras-vae info`: a run at a glance."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_vae_cli.looks.runs import Run, read, said

LABEL = 12
# Figures in other units.
NO_NATS = ("bits/dim", "active units")


def described(path: Path) -> str:
    """What a run is, what it was trained on, what it has reached, and what lies in its folder.

    Raises:
        ConfigError: if the folder is damaged.
    """
    return "\n".join(f"{label:<{LABEL}}{text}" for label, text in lines(path))


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """The same as labels and texts.

    Raises:
        ConfigError: if the folder is damaged.
    """
    run = read(path)
    made = run.settings
    training, test = run.report.get("training", {}), run.report.get("test", {})
    yield "run", f"{run.path}, {_state(run)}"
    yield "data", _data(run)
    model = made.model
    known = not model.takes_sizes or "latent_dim" in model.model_fields_set
    size = f", {model.latent_dim} latent dimensions" if known else ""
    yield "encoder", f"{said(model.encoder)} -> {said(model.posterior)}{size}"
    if model.latents is not None:
        of_levels = "" if model.level_posterior is None else f" of posterior {said(model.level_posterior)}"
        both = ", bidirectional" if model.bidirectional else ""
        yield "latents", f"{model.latents}, a hierarchy{of_levels}{both}"
    yield "prior", said(model.prior)
    yield "decoder", f"{said(model.decoder)} -> {said(model.likelihood)}"
    if model.guide is not None:
        yield "guide", said(model.guide)
    yield "objective", said(model.objective) + ("" if model.vae == {"name": "VAE"} else f", {said(model.vae)}")
    train = made.train
    rate = f"{train.learning_rate:g}" + (f" to {train.final_learning_rate:g}" if train.final_learning_rate else "")
    yield "training", f"{train.epochs} epochs, {train.optimizer} at {rate}, seed {train.seed}, {train.precision}"
    if training:
        weights = f"{training['weights']:,} weights, " if "weights" in training else ""
        best = f", best after epoch {training['best_epoch']}" if training.get("best_epoch") else ""
        yield "", f"{weights}{training.get('steps', 0):,} steps, {training.get('seconds', 0):.0f} s{best}"
    by = run.report.get("trained_by", {})
    if by:
        commit = f" of commit {by['commit'][:10]}" if by.get("commit") else ""
        yield (
            "",
            f"{by.get('date', '')}, keras_vae {by.get('versions', {}).get('keras_vae')}{commit}: {by.get('command')}",
        )
    if run.numbers:
        said_of = [(name, f"{name} {value:.5g}") for name, value in run.numbers.items() if name != "seconds"]
        nats = ", ".join(text for name, text in said_of if name not in NO_NATS)
        yield "test", "; ".join([f"{nats} (nats per example)", *(text for name, text in said_of if name in NO_NATS)])
    if "log_likelihood" not in test:
        yield "", f"not evaluated yet: keras-vae evaluate {run.path}"
    for finding in run.report.get("findings", training.get("findings", [])):
        yield "! found" if finding.get("is_harmful") else "found", str(finding.get("message") or finding.get("name"))
    yield "exported", _exported(run.path)
    yield "pictures", ", ".join(sorted(p.stem for p in (run.path / "pictures").glob("*.png"))) or "none yet"


def _state(run: Run) -> str:
    if run.is_finished:
        return "finished"
    if not (run.path / "vae.keras").is_file():
        return "not finished: there is no model yet"
    return "not finished: vae.keras is its best model so far, and the same keras-vae train command goes on"


def _data(run: Run) -> str:
    given, seen = run.settings.data, run.data.get("fingerprint") or {}
    parts = [str(given.name or run.data.get("path") or given.path)]
    counts = [split.get("count", 0) for split in (seen.get("splits") or {}).values()]
    if counts:
        parts.append(f"{sum(counts):,} examples")
    if seen.get("shape"):
        # The pictures may have been resized since.
        shape = [*(given.resize or seen["shape"][:-1]), seen["shape"][-1]]
        parts.append(f"each {' x '.join(map(str, shape))}" if len(shape) > 1 else f"each of {shape[0]} numbers")
    if given.binarize:
        parts.append(f"binarized ({given.binarize})")
    if given.condition is not None:
        parts.append(f"given {given.condition.name}")
    names = run.data.get("class_names")
    if names and names != [str(k) for k in range(len(names))]:
        parts.append(f"{len(names)} classes: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}")
    return ", ".join(parts)


def _exported(path: Path) -> str:
    folder: Any = path / "export"
    found = [f"{p.relative_to(path)} ({_size(p)})" for p in sorted(folder.glob("*.tflite"))]
    served = [p for p in folder.glob("saved_model/*") if p.name.isdecimal()]
    found = [f"{p.relative_to(path)} ({_size(p)})" for p in sorted(served, key=lambda p: int(p.name))] + found
    return ", ".join(found) or f"nothing yet: keras-vae export {path}"


def _size(path: Path) -> str:
    size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
