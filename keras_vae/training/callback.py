"""What a callback must be that `fit` of a VAE asks before Keras takes over."""

from typing import Any

import keras


class FitCallback(keras.callbacks.Callback):
    """A callback that has a say in the arguments of `fit`.

    Attributes:
        needs_every_batch: whether it must be called after each training step; if not, one call of the compiled function
            may make several (see `steps_per_call`).
        of_the_epoch: names of its attributes that a start of an epoch resets: `Checkpoints` gives them back where a run
            goes on within one.
    """

    needs_every_batch: bool = False
    of_the_epoch: tuple[str, ...] = ()

    def prepare(self, vae: Any, options: dict[str, Any]) -> None:
        """Called before the data are looked at; may change the arguments of `fit` in place."""

    def serve(self, vae: Any, options: dict[str, Any]) -> dict[str, Any]:
        """Called after the data were looked at: the arguments that Keras gets."""
        return options
