"""How a VAE is saved and loaded by Keras's own methods."""

import functools
from typing import Any

import keras

from keras_vae.models import learner
from keras_vae.models.storage import model_files
from keras_vae.models.storage.model_files import UNUSED


class Stored(keras.Model):
    """Whole files with checksums, of models that are built before; refusals of what could not be loaded."""

    quantize = model_files.refuse_quantization

    def save(self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any) -> None:
        """Build if need be, and save as a `.keras` file, with checksums that `kv.load` compares.

        The optimizer is built too: Keras loads no model whose optimizer has no state yet.

        Raises:
            ValueError: for a file of another kind.
        """
        self.prepare_to_learn()
        model_files.check_quantization(self)
        write = functools.partial(super().save, overwrite=overwrite, zipped=zipped, **kwargs)
        model_files.save(filepath, write, overwrite, zipped)

    def save_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Build if need be, and save the weights."""
        self._ensure_built()
        super().save_weights(filepath, *args, **kwargs)

    def load_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Build if need be, and load the weights."""
        self._ensure_built()
        super().load_weights(filepath, *args, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Take up the optimizer of a saved model: a VAE has no other losses and metrics than its objective's."""
        super().compile_from_config({name: value for name, value in config.items() if name not in UNUSED})

    def export(self, *args: Any, **kwargs: Any) -> None:
        """`keras.Model.export`: of reconstructions alone, and as it is. `keras_vae.export` has more, and proves it.

        Raises:
            ValueError: for a conditional model, unless it gets an `input_signature`.
        """
        learner.prepare_to_export(self, kwargs.get("input_signature"))
        super().export(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The parts and the seed that is in use."""
        return {**super().get_config(), "seed": self.seed}

    def get_build_config(self) -> dict[str, Any]:
        """The shape of the data. Built here if need be: an unbuilt model would reload with other weights."""
        self._ensure_built()
        return {"input_shape": (None, *self.decoder.event_shape)}

    def load_own_variables(self, store: Any) -> None:
        """Load the counters, and remember that weights were loaded."""
        super().load_own_variables(store)
        self.adapted.assign(1)
