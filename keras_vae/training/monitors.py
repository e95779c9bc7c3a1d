"""Callbacks that watch a number of the logs: which numbers there will be, and which way is better."""

from collections.abc import Collection, Iterable
from typing import Any

import keras

# Keras guesses no more than that of `loss`.
LESS_IS_BETTER = ("loss", "kl", "regularization", "skipped_steps")
# What callbacks of Keras and of this package may add to the logs.
ADDED = ("skipped_steps", "learning_rate")
# Whose callbacks are known to add nothing else.
KNOWN = ("keras", "keras_vae")


def more_is_better(monitor: str) -> bool:
    """Of what a model names as its `monitor`: of all but its loss."""
    return monitor != "loss"


def settle(
    callbacks: Iterable[keras.callbacks.Callback], names: Collection[str], best: Collection[str], is_validated: bool
) -> None:
    """See to it, before an epoch is trained in vain, that every monitor finds its number and knows its direction.

    `mode="auto"` becomes "max" or "min" where the direction of the number is known.

    Args:
        callbacks: of `fit`.
        names: what the model logs, without `val_`.
        best: those of them that are the better, the greater.
        is_validated: whether there are validation data.

    Raises:
        ValueError: for a number that will not be there, or whose better direction nobody knows, and for a checkpoint
            of a whole model in a file of another kind than .keras; naming the remedy.
    """
    callbacks = list(callbacks)
    # One of somebody else's may put anything into the logs.
    all_known = all(type(callback).__module__.partition(".")[0] in KNOWN for callback in callbacks)
    for callback in callbacks:
        _check_file(callback)
        monitor = getattr(callback, "monitor", None)
        if not isinstance(monitor, str) or not _reads(callback):
            continue
        kind, name = type(callback).__name__, monitor.removeprefix("val_")
        if monitor.startswith("val_") and not is_validated and all_known:
            raise ValueError(
                f"{kind} monitors {monitor!r}, and there are no validation data: give fit(..., validation_data=...), "
                f"or monitor {name!r}."
            )
        if all_known and name not in (*names, *ADDED):
            there = ", ".join(f"{prefix}{n}" for prefix in ("", "val_") for n in names)
            raise ValueError(f"{kind} monitors {monitor!r}, which is not logged. There are {there}.")
        if getattr(callback, "mode", None) == "auto":
            callback.mode = _direction(name, best, callback.mode)
            if callback.mode == "auto" and name in names:
                raise ValueError(
                    f"{kind} monitors {monitor!r}, and cannot know whether more of it is better: give mode='max' or "
                    "mode='min'."
                )


def _check_file(callback: Any) -> None:
    if not isinstance(callback, keras.callbacks.ModelCheckpoint) or callback.save_weights_only:
        return
    if not callback.filepath.endswith(".keras"):
        raise ValueError(
            f"{type(callback).__name__}({callback.filepath!r}): a VAE is saved as a .keras file. Give a path that ends "
            "in .keras, or save_weights_only=True and one that ends in .weights.h5."
        )


def _direction(name: str, best: Collection[str], otherwise: str) -> str:
    if name in best:
        return "max"
    return "min" if name in LESS_IS_BETTER or name.endswith("_loss") else otherwise


def _reads(callback: Any) -> bool:
    """Whether it looks at its monitor: a checkpoint that keeps everything, or batches, does not."""
    if not isinstance(callback, keras.callbacks.ModelCheckpoint):
        return True
    return bool(callback.save_best_only)
