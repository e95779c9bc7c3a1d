"""A few dozen steps of each config, more where they are cheap: `python benchmarks/configs.py --quick`.

Networks, objective, optimizer and averages are those of the config, and the command is `keras-vae train`; the steps are
fewer, the batches smaller and the data no more than those steps take. The digits, the sprites and the table are the
config's own, of sprites fewer; series are waves, MNIST and OMNIGLOT are stood in for by the digits at their size, and
pictures by coloured sprites that are drawn here.
What seconds can show is looked at:

- every number of the history is finite, and no step was skipped;
- the ELBO is higher in the last epoch than in the first, in training and on what is held out; or the loss is lower,
  where that is another goal, as while a codebook comes into use;
- averaged weights are hardly worse than those that they are the average of;
- the posterior has not become the prior: its KL is not zero, but for models given an image;
- the pictures are there, and none of them is of one colour alone.

Configs that differ in their data alone are one here.

It says nothing of how good a config is: that is what benchmarks/configs.py without --quick is for.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import promises
import tensorflow as tf
from PIL import Image, ImageDraw
from rich.console import Console

from keras_vae.callbacks import Checkpoints
from keras_vae_cli import settings
from keras_vae_cli.commands import build, history, run_folder, train
from keras_vae_cli.errors import ConfigError
from keras_vae_cli.settings import Settings

EPOCHS, STEPS, WARM_UP = 5, 10, 10
# Times as many where there are no convolutions: a step costs little, and the first codes of the digits want 200.
MORE = 4
# Of the configs whose data are not their own here, and of those with convolutions.
BATCH, SMALL_BATCH = 64, 16
HELD_OUT = 0.2
# Of the rise of the ELBO that the averaged weights may lack.
AVERAGES_LACK = 0.5
# Data sets of one channel and 28 x 28.
DIGITS_STAND_FOR = ("mnist", "omniglot")
# Nats of KL that a posterior has which is not the prior.
ALIVE_NATS = 0.1
# Seconds since 1970 from which on no further config is looked at, for machines with little time.
UNTIL = "KERAS_VAE_CONFIGS_UNTIL"


@dataclasses.dataclass
class Checked:
    """What was seen of one config."""

    name: str
    seconds: float
    faults: list[str]
    first: float = float("nan")
    last: float = float("nan")
    kl: float = float("nan")

    def __str__(self) -> str:
        """A row of the table."""
        verdict = "; ".join(self.faults) or "none"
        return f"| {self.name} | {self.first:.1f} | {self.last:.1f} | {self.kl:.2f} | {self.seconds:.0f} | {verdict} |"


def sprites(n: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Colour pictures, uint8 [n, height, width, 3]: a disc or a box of one colour before a sky of two."""
    rng = np.random.default_rng(seed)
    found = np.empty((n, height, width, 3), np.uint8)
    for i in range(n):
        top, bottom, colour = rng.integers(0, 256, (3, 3))
        ramp = np.linspace(0.0, 1.0, height)[:, np.newaxis, np.newaxis]
        sky = ((1.0 - ramp) * top + ramp * bottom).astype(np.uint8)
        picture = Image.fromarray(np.broadcast_to(sky, (height, width, 3)).copy())
        size = rng.uniform(0.3, 0.6) * np.array([width, height])
        at = rng.uniform(0.0, 1.0, 2) * (np.array([width, height]) - size)
        draw = ImageDraw.Draw(picture)
        shape = draw.ellipse if i % 2 else draw.rectangle
        shape([*at, *(at + size)], fill=tuple(int(value) for value in colour))
        found[i] = np.asarray(picture)
    return found


def waves(n: int, seed: int = 0) -> np.ndarray:
    """Series, float32 [n, 64, 2]: a wave, and the same a quarter later, with noise."""
    rng = np.random.default_rng(seed)
    phase, frequency = rng.uniform(0.0, 2.0 * np.pi, (n, 1, 1)), rng.uniform(1.0, 3.0, (n, 1, 1))
    time_, lag = np.linspace(0.0, 2.0 * np.pi, 64)[:, np.newaxis], np.array([0.0, np.pi / 2.0])
    return (np.sin(frequency * time_ + phase + lag) + rng.normal(0.0, 0.1, (n, 64, 2))).astype("float32")


def stand_in(config: Settings, folder: Path) -> list[str]:
    """The overrides that put small data in the place of those of a config; files are written to `folder`."""
    data, source = config.data, config.data.path or config.data.name or ""
    kind = source.partition("/")[0]
    if kind in ("digits", "diabetes", "topics"):
        return []
    if kind == "oscillations":
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "series.npy", waves(MORE * STEPS * batch_size(config)))
        return [f"data.path={folder / 'series.npy'}", "data.series=true"]
    if kind == "shapes":
        # 3 shapes in 4 sizes, at 9 x 9 places.
        return ["data.name=shapes/size=24,scales=4,orientations=1,positions=9"]
    if kind in DIGITS_STAND_FOR:
        return ["data.name=digits", "data.resize=[28, 28]"]
    height, width = data.resize or ((28, 20) if "frey" in kind else (32, 32))
    count = int(STEPS * batch_size(config) / (1.0 - HELD_OUT) ** 2) + 1
    pictures = sprites(count, height, width)
    folder.mkdir(parents=True, exist_ok=True)
    if "frey" in kind:
        np.savez(folder / "pictures.npz", images=pictures.mean(axis=-1).astype(np.uint8))
        return [f"data.path={folder / 'pictures.npz'}", "data.resize=null"]
    for i, picture in enumerate(pictures):
        place = folder / "pictures" / ("disc" if i % 2 else "box") / f"{i:04}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place)
    return [f"data.path={folder / 'pictures'}", f"data.resize=[{height}, {width}]"]


def batch_size(config: Settings) -> int:
    """Images in a step: few where there are convolutions."""
    return min(config.data.batch_size, BATCH if is_dense(config) else SMALL_BATCH)


def is_dense(config: Settings) -> bool:
    """Whether the network has no convolutions."""
    return "mlp" in str(config.model.encoder)


def smaller(config: Settings, folder: Path) -> list[str]:
    """The overrides that make a config one of a few dozen steps."""
    epochs = EPOCHS * (MORE if is_dense(config) else 1)
    overrides = [
        *stand_in(config, folder),
        f"data.batch_size={batch_size(config)}",
        f"train.epochs={epochs}",
        "train.start_from=null",
        "export.formats=[]",
        f"data.test_split={HELD_OUT}",
        f"data.validation_split={HELD_OUT}",
    ]
    if getattr(config.train, "pretraining", None) is not None:
        overrides.append(f"train.pretraining.epochs={epochs}")
    if "num_examples" in config.model.objective:
        overrides.append("model.objective.num_examples=500")
    if isinstance(config.model.objective.get("kl_weight"), dict):
        # In a warm-up of thousands of steps the first few would have no KL to pay for, and the ELBO would fall.
        overrides.append(f"model.objective.kl_weight.steps={WARM_UP}")
    return overrides


def look(name: str, folder: Path, changes: Sequence[str] = ()) -> Checked:
    """Train a config for a few dozen steps, and find what is wrong with it.

    Args:
        name: of the config.
        folder: for the run and its data.
        changes: overrides of the config, for a trial.
    """
    started, path = time.monotonic(), promises.CONFIGS / f"{name}.yaml"
    try:
        config = settings.load(path, [*smaller(settings.load(path), folder), *changes])
        with (folder / "log").open("w", encoding="utf-8") as log:
            train.train(config, folder / "run", Console(file=log, width=120))
        checked = examine(name, folder / "run")
    except Exception as error:  # whatever it is, it is this config's, and the others are still to be seen
        checked = Checked(name, 0.0, [f"{type(error).__name__}: {error}".replace("\n", " ")])
    finally:
        keras.config.set_dtype_policy("float32")
    checked.seconds = time.monotonic() - started
    return checked


def examine(name: str, run: Path) -> Checked:
    """What is wrong with a short run that has ended."""
    config, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    curves = history.columns(run / run_folder.HISTORY, print) or {}
    trained, held = curves["elbo"], curves["val_elbo"]
    found = Checked(name, 0.0, [], float(held[0]), float(held[-1]), float(curves["kl"][-1]))
    lost = sorted(key for key, values in curves.items() if not np.isfinite(values).all())
    if lost:
        found.faults.append(f"not finite: {', '.join(lost)}")
    if curves["skipped_steps"].any():
        found.faults.append(f"{int(curves['skipped_steps'].max())} steps were skipped")
    for kind, prefix in (("in training", ""), ("on what is held out", "val_")):
        elbo, loss = curves[f"{prefix}elbo"], curves[f"{prefix}loss"]
        if not (elbo[-1] > elbo[0] or loss[-1] < loss[0]):
            found.faults.append(f"nothing is learned {kind}: ELBO {elbo[0]:.1f} to {elbo[-1]:.1f}, loss {loss[0]:.1f}")
    if config.train.ema_momentum is not None:
        raw = elbo_of_raw_weights(config, run, splits)
        if not held[-1] >= raw - AVERAGES_LACK * abs(trained[-1] - trained[0]):
            found.faults.append(f"averaged weights: ELBO {held[-1]:.1f}, where those averaged have {raw:.1f}")
    rate = float(curves["val_kl"][-1])
    # Given an image, few steps find what follows from it, and z comes later.
    given_image = vae.condition is not None and vae.condition.is_image
    if not given_image and not vae.encoder.posterior.is_certain and rate < ALIVE_NATS:
        found.faults.append(f"the posterior is the prior: a KL of {rate:.2g} nats, whatever the image")
    drawn = sorted((run / run_folder.PICTURES).glob("*.png"))
    if not {"samples", "reconstructions"} <= {path.stem for path in drawn}:
        found.faults.append("no pictures")
    found.faults += [f"{path.name} is of one colour" for path in drawn if is_plain(path)]
    return found


def elbo_of_raw_weights(config: Settings, run: Path, splits: Any) -> float:
    """Of the validation data, by the last weights themselves and not their averages."""
    vae = build.make_vae(config, splits.train.event_shape, splits.condition)
    vae.build()
    vae.compile(build.make_optimizer(config.train, splits.train.steps_per_epoch(config.data.batch_size)))
    vae.optimizer.build(vae.trainable_variables)
    Checkpoints(run / run_folder.CHECKPOINTS, run / run_folder.MODEL).restore(vae)
    data = splits.validation.dataset(config.data.batch_size)
    return float(vae.evaluate(data, return_dict=True, verbose=0)["elbo"])


def is_plain(path: Path) -> bool:
    """Whether a picture shows nothing."""
    with Image.open(path) as picture:
        return all(low == high for low, high in picture.convert("RGB").getextrema())


@contextlib.contextmanager
def place(runs: Path | None) -> Iterator[Path]:
    """A new folder in `runs`, which stays; a temporary one if that is None."""
    if runs is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        runs.mkdir(parents=True, exist_ok=True)
        yield Path(tempfile.mkdtemp(prefix="quick-", dir=runs))


def twin(name: str, names: Sequence[str]) -> str | None:
    """The first of `names`, before `name`, with the same model, training and size of images, where it has one."""
    alike = [_beyond_data(each) for each in names]
    first = alike.index(alike[names.index(name)])
    return None if names[first] == name else names[first]


def _beyond_data(name: str) -> tuple[Any, ...]:
    try:
        config = settings.load(promises.CONFIGS / f"{name}.yaml")
    except ConfigError:  # which `look` tells
        return (name,)
    kind = (config.data.path or config.data.name or "").partition("/")[0]
    kind = DIGITS_STAND_FOR[0] if kind in DIGITS_STAND_FOR else kind
    stands_for_itself = kind in ("digits", "shapes", "mnist") or "frey" in kind
    size = tuple(config.data.resize or (32, 32))
    return (kind if stands_for_itself else size, str(config.data.condition), str(config.model), str(config.train))


def run(names: Sequence[str], runs: Path | None) -> int:
    """Look at these configs, one on each core, print a table, and return the exit code: 1 if anything is wrong."""
    wrong, left_out = 0, list[str]()
    twins = {name: twin(name, names) for name in names}
    alone = [name for name in names if twins[name] is None]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # A process for each: what one has traced, and taken of memory, is gone when the next one starts.
    spawn = multiprocessing.get_context("spawn")
    workers = concurrent.futures.ProcessPoolExecutor(cores, spawn, begin, (promises.CONFIGS,), max_tasks_per_child=1)
    with place(runs) as folder, workers as pool:
        print("| config | held out: first ELBO | last | KL | seconds | wrong |\n|" + " --- |" * 6, flush=True)
        for name, checked in zip(alone, pool.map(functools.partial(look_in, folder), alone), strict=True):
            if checked is None:
                left_out.append(name)
                continue
            wrong += bool(checked.faults)
            print(checked, flush=True)
    if left_out:
        print(f"Not looked at, for the time that ${UNTIL} allows was over: {', '.join(left_out)}.")
    for name, other in twins.items():
        if other is not None:
            print(f"{name} differs from {other} in its data alone: not trained.")
    looked_at = len(alone) - len(left_out)
    print(f"\n{looked_at} configs, {wrong} with something wrong." + ("" if runs is None else f" Runs: {folder}"))
    return int(wrong > 0)


def begin(configs: Path) -> None:
    """Set up a process for configs of this folder: one core, and no warning that a function is traced again."""
    promises.CONFIGS = configs
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.get_logger().setLevel("ERROR")


def look_in(folder: Path, name: str) -> Checked | None:
    """`look` in a new folder inside of `folder`; None if no time is left for it."""
    if time.time() > float(os.environ.get(UNTIL, "inf")):
        return None
    inside = folder / name
    inside.mkdir(parents=True)
    return look(name, inside)
