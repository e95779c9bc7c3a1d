"""Callbacks for `fit`: checkpoints to resume from, a diagnosis in words, and pictures for TensorBoard."""

import math
import os
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_vae import codes, diagnosis, pictures
from keras_vae.checkpoints import Checkpoints
from keras_vae.skipped import SkippedSteps, TrainingDiverged

__all__ = ["Checkpoints", "Diagnosis", "SkippedSteps", "TensorBoardPictures", "TrainingDiverged", "write_image"]

# What TensorBoard's image panel reads: its plugin's name in the summary, and strings (width, height, PNG).
IMAGE_PLUGIN = "images"


class Diagnosis(keras.callbacks.Callback):
    """Print each finding of `diagnosis.diagnose` once, when it first appears during `fit`.

    Values that are not finite are looked for at the end of each epoch in the logs; everything else every `every` epochs
    and at the end of training, on the first `max_examples` of the data. A finding that is gone again may come back, and
    is then printed again.

    Args:
        data: validation data, or training data if there are none.
        every: number of epochs from one diagnosis to the next; the first comes after as many.
        max_examples: number of examples that are looked at.
        write: what prints a line.

    Attributes:
        findings: those of the last diagnosis.
    """

    def __init__(
        self, data: Any, every: int = 5, max_examples: int = 1000, write: Callable[[str], Any] = print
    ) -> None:
        super().__init__()
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"every must be a positive int, not {every!r}.")
        self.x, self.y = codes.gather(data, max_examples)
        self.every, self.write = every, write
        self.findings: list[diagnosis.Finding] = []
        self._epoch = 0
        self._logs: dict[str, list[float]] = {}
        self._run: codes.Measure | None = None

    def set_model(self, model: Any) -> None:
        """Remember the model."""
        super().set_model(model)
        self._run = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Diagnose, if it is time or a number is not finite."""
        self._epoch = epoch + 1
        for name, value in (logs or {}).items():
            self._logs.setdefault(name, []).append(float(tf.squeeze(value)))
        broken = not all(math.isfinite(values[-1]) for values in self._logs.values())
        if broken or self._epoch % self.every == 0:
            self._diagnose()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Diagnose, unless the last epoch did."""
        if self._epoch % self.every:
            self._diagnose()

    def _diagnose(self) -> None:
        known = {finding.name for finding in self.findings}
        self._run = self._run or codes.measure(self.model)
        condition = codes.given(self.model, self.y)
        statistics = codes.statistics(self.model, (self.x, condition), run=self._run)
        few = None if condition is None else condition[: diagnosis.SCALE_EXAMPLES]
        self.findings = diagnosis.examine(self.model, statistics, self.x[: diagnosis.SCALE_EXAMPLES], self._logs, few)
        for finding in self.findings:
            if finding.name not in known:
                self.write(f"epoch {self._epoch}: {finding}")


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
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"every must be a positive int, not {every!r}.")
        self.directory, self.every, self.n, self.seed = os.fspath(directory), every, n, seed
        self.x, self.y = codes.gather(data, n)
        self._writer: Any = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Open the file of the logs."""
        self._writer = tf.summary.create_file_writer(self.directory)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the pictures, if it is time."""
        if (epoch + 1) % self.every:
            return
        figures = {
            "samples": pictures.samples(self.model, self.n, self.seed, condition=codes.given(self.model, self.y)),
            "reconstructions": pictures.reconstructions(self.model, (self.x, self.y), self.n),
        }
        with self._writer.as_default():
            for name, figure in figures.items():
                write_image(name, pictures.png(figure), step=epoch + 1)
        self._writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Close the file of the logs."""
        if self._writer is not None:
            self._writer.close()


def write_image(name: str, png: bytes, step: int) -> None:
    """A PNG as an image summary of the default writer, in the form that TensorBoard's image panel reads.

    `tf.summary.image` does the same, but only where TensorBoard is installed.
    """
    height, width = tf.io.decode_png(png).shape[:2]
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = IMAGE_PLUGIN
    metadata.data_class = 3  # a sequence of blobs
    tf.summary.write(name, tf.constant([str(width).encode(), str(height).encode(), png]), step=step, metadata=metadata)
