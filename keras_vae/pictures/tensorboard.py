"""Pictures for TensorBoard's image panel."""

import os
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_vae import files
from keras_vae.arguments import check_count
from keras_vae.evaluation.statistics import gather, given
from keras_vae.pictures import of_models, tiles


class TensorBoardPictures(keras.callbacks.Callback):
    """Samples and reconstructions for TensorBoard's image panel every few epochs, always of the same noise and data.

    Writing them needs TensorFlow only; TensorBoard is what shows them.

    Args:
        directory: folder of the logs; `keras.callbacks.TensorBoard` may write to the same.
        data: its first `n` examples are reconstructed.
        every: number of epochs from one set of pictures to the next.
        n: number of images in each picture.
        seed: of the samples.
    """

    def __init__(
        self, directory: str | os.PathLike[str], data: Any, every: int = 5, n: int = 16, seed: int = 0
    ) -> None:
        super().__init__()
        check_count("every", every)
        self.directory, self.every, self.n, self.seed = os.fspath(directory), every, check_count("n", n), seed
        self.x, self.y = gather(data, n)
        self._writer: Any = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Open the file of the logs.

        Raises:
            NotADirectoryError: if a file stands where the folder is to be, or on the way to it.
        """
        with files.made(Path(self.directory)):
            self._writer = tf.summary.create_file_writer(self.directory)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the pictures, if it is time."""
        if (epoch + 1) % self.every:
            return
        figures = {
            "samples": of_models.samples(self.model, self.n, self.seed, condition=given(self.model, self.y)),
            "reconstructions": of_models.reconstructions(self.model, (self.x, self.y), self.n),
        }
        with self._writer.as_default():
            for name, figure in figures.items():
                pixels = tf.io.decode_png(tiles.png(figure))
                tf.summary.image(name, pixels[tf.newaxis], step=epoch + 1)
        self._writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Close the file of the logs."""
        if self._writer is not None:
            self._writer.close()
