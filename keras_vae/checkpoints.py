"""Checkpoints of a training run: written atomically, rotated, and skipped when damaged."""

import json
import math
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vae.vae import VAE

STATE = "state.json"
KEPT = 2


def save_model(vae: VAE, path: Path) -> None:
    """Write a `.keras` file such that `path` always holds a whole one."""
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        vae.save(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class Checkpoints(keras.callbacks.Callback):
    """Keeps the best weights by validation ELBO, and saves the run at the ends of epochs.

    A checkpoint is a folder `epoch-NNNNNN` with the model as it trains (`vae.keras`: weights, optimizer, step), the
    best model so far (`best.keras`), and `state.json` with what callbacks hold (a patience, the best value). It must
    stand after those callbacks, so that it restores what they reset at the start of training.

    Args:
        folder: of the checkpoints.
        best: file of the best model, replaced at every checkpoint.
        others: callbacks whose state belongs to the run.
        seconds: least time between checkpoints.
    """

    def __init__(
        self, folder: Path, best: Path, others: Sequence[keras.callbacks.Callback] = (), seconds: float = 60.0
    ) -> None:
        super().__init__()
        self.folder, self.best_path, self.others, self.seconds = folder, best, list(others), seconds
        self.best_elbo = -math.inf
        self.best_epoch: int | None = None
        self.best_weights: list[np.ndarray] | None = None
        self._epoch = 0
        self._candidate: tuple[float, list[np.ndarray]] | None = None
        self._saved_at = time.monotonic()
        self._restored: dict[str, Any] | None = None

    def restore(self, vae: VAE) -> int | None:
        """Load the newest whole checkpoint into `vae`, which is compiled; the number of epochs done, or None."""
        for path in sorted(self.folder.glob("epoch-*"), reverse=True):
            try:
                state = json.loads((path / STATE).read_text(encoding="utf-8"))
                saved = keras.saving.load_model(path / "vae.keras")
                best = keras.saving.load_model(path / "best.keras", compile=False)
            except (OSError, ValueError, KeyError, TypeError) as error:
                print(f"The checkpoint {path} is damaged and skipped ({type(error).__name__}: {error}).")
                continue
            vae.set_weights(saved.get_weights())
            vae.optimizer.build(vae.trainable_variables)
            for variable, value in zip(vae.optimizer.variables, saved.optimizer.variables, strict=True):
                variable.assign(value)
            self.best_elbo, self.best_epoch = state["best_elbo"], state["best_epoch"]
            self.best_weights = best.get_weights()
            self._restored = state["callbacks"]
            return int(state["epoch"])
        return None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Give the callbacks back what they held."""
        if self._restored is not None:
            for callback in self.others:
                vars(callback).update(self._restored.get(type(callback).__name__, {}))

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remember the epoch."""
        self._epoch, self._candidate = epoch, None

    def on_test_end(self, logs: dict | None = None) -> None:
        """Keep the weights, averaged ones if they are on, if they are the best so far."""
        elbo = float((logs or {}).get("elbo", math.nan))
        if elbo > self.best_elbo:
            self.best_elbo, self.best_epoch = elbo, self._epoch
            self.best_weights = self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Save, if the last checkpoint is old enough."""
        self._epoch = epoch
        if time.monotonic() - self._saved_at >= self.seconds:
            self.save(epoch + 1)

    def save(self, epochs_done: int) -> None:
        """Write a checkpoint and the best model."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"epoch-{epochs_done:06d}"
        temporary = self.folder / f".writing-{target.name}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        self.model.save(temporary / "vae.keras")
        self.save_best(temporary / "best.keras")
        state = {
            "epoch": epochs_done,
            "best_elbo": self.best_elbo,
            "best_epoch": self.best_epoch,
            "callbacks": {type(callback).__name__: _plain_state(callback) for callback in self.others},
        }
        (temporary / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        temporary.replace(target)
        for old in sorted(self.folder.glob("epoch-*"))[:-KEPT]:
            shutil.rmtree(old)
        save_copy(target / "best.keras", self.best_path)
        self._saved_at = time.monotonic()

    def save_best(self, path: Path) -> None:
        """Write the best model: the current one if there was no validation."""
        current = None if self.best_weights is None else self.model.get_weights()
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)
        try:
            save_model(self.model, path)
        finally:
            if current is not None:
                self.model.set_weights(current)


def save_copy(source: Path, target: Path) -> None:
    """Copy a file such that `target` always holds a whole one."""
    temporary = target.with_name(f".writing-{target.name}")
    shutil.copyfile(source, temporary)
    temporary.replace(target)


def _plain_state(callback: keras.callbacks.Callback) -> dict[str, Any]:
    state = {}
    for name, value in vars(callback).items():
        plain = value.item() if isinstance(value, np.generic) else value
        if plain is None or isinstance(plain, (bool, int, float, str)):
            state[name] = plain
    return state
