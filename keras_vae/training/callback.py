"""What a callback must be that `fit` of a VAE asks before Keras takes over."""

import contextlib
from typing import Any

import keras


class FitCallback(keras.callbacks.Callback):
    """A callback that has a say in the arguments of `fit`.

    Attributes:
        needs_every_batch: whether it must be called after each training step; if not, one call of the compiled function
            may make several (see `steps_per_call`).
        keeps_state: whether `Checkpoints` saves the numbers and words among its attributes, and gives them back.
        of_the_epoch: names of those that the start of an epoch resets: they are given back again where a run goes on
            within one.
    """

    needs_every_batch: bool = False
    keeps_state: bool = False
    of_the_epoch: tuple[str, ...] = ()

    def prepare(self, vae: Any, options: dict[str, Any]) -> None:
        """Called before the data are looked at.

        Args:
            vae: the model.
            options: the arguments of `fit` by name, which may be changed in place.
        """

    def serve(self, vae: Any, options: dict[str, Any]) -> dict[str, Any]:
        """Called after the data were looked at and a fresh model was adapted to them.

        Args:
            vae: the model.
            options: the arguments of `fit` by name.

        Returns:
            Those that Keras is to get.
        """
        return options

    def during(self, vae: Any) -> contextlib.AbstractContextManager[Any]:
        """What is held while Keras trains, and let go of however that ends.

        Args:
            vae: the model.
        """
        return contextlib.nullcontext()
