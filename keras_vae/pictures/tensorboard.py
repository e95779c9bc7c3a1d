"""What TensorBoard shows beside the curves of a training: pictures, settings, codes with thumbnails."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import yaml

from keras_vae import files
from keras_vae.arguments import check_count
from keras_vae.evaluation.statistics import gather, given
from keras_vae.pictures import of_models, tiles
from keras_vae.pictures.projector import write_projector

# What a config of Keras holds beside the arguments.
BESIDE = ("name", "trainable", "dtype")


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


class TensorBoardSettings(keras.callbacks.Callback):
    """The settings of a training for TensorBoard: its HPARAMS page compares runs by them, its TEXT page shows them.

    They stand in the folder of the logs itself, and `keras.callbacks.TensorBoard(directory)` writes the curves beside
    them: with `tensorboard --logdir` of a folder above, each such folder is a run, its metrics those of the curves.

    Args:
        directory: folder of the logs.
        settings: numbers, words and nested mappings of them, by name; None takes the parts of the model with their
            arguments, and the optimizer with its learning rate.
    """

    def __init__(self, directory: str | os.PathLike[str], settings: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.directory, self.settings = os.fspath(directory), settings
        self._writer: Any = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Write the settings.

        Raises:
            NotADirectoryError: if a file stands where the folder is to be, or on the way to it.
        """
        from tensorboard.plugins.hparams import summary_v2

        settings = settings_of(self.model) if self.settings is None else self.settings
        with files.made(Path(self.directory)):
            self._writer = tf.summary.create_file_writer(self.directory)
        text = yaml.safe_dump(_plain(settings), sort_keys=False, allow_unicode=True)
        with self._writer.as_default():
            started = summary_v2.hparams_pb(dict(_flat(settings)))
            tf.summary.experimental.write_raw_pb(started.SerializeToString(), step=0)
            # Four blanks make a line of Markdown one of code.
            tf.summary.text("settings", "".join(f"    {line}\n" for line in text.splitlines()), step=0)
        self._writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Write that training has come to its end."""
        from tensorboard.plugins.hparams import api_pb2, summary

        with self._writer.as_default():
            ended = summary.session_end_pb(api_pb2.STATUS_SUCCESS)
            tf.summary.experimental.write_raw_pb(ended.SerializeToString(), step=0)
        self._writer.close()


class TensorBoardProjector(keras.callbacks.Callback):
    """The codes of examples, with thumbnails and labels, for TensorBoard's PROJECTOR page: see `write_projector`.

    Args:
        directory: folder of the logs; a run of its own for TensorBoard.
        data: a data set, with or without labels.
        n: number of examples at most.
    """

    def __init__(self, directory: str | os.PathLike[str], data: Any, n: int = 1000) -> None:
        super().__init__()
        self.directory, self.data, self.n = os.fspath(directory), data, check_count("n", n)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Write the codes of the trained model."""
        write_projector(self.model, self.data, self.directory, n=self.n)


def settings_of(vae: keras.Model) -> dict[str, Any]:
    """The parts of a model with their arguments, and its optimizer with the learning rate, as nested mappings."""
    made = keras.saving.serialize_keras_object(vae)
    found = {name: _part(value) for name, value in made["config"].items() if name not in BESIDE}
    optimizer = (made.get("compile_config") or {}).get("optimizer")
    if isinstance(optimizer, dict):
        rate = optimizer["config"].get("learning_rate")
        found["optimizer"] = {"name": optimizer["class_name"], "learning_rate": _part(rate)}
    return {name: value for name, value in found.items() if value is not None}


def _part(value: Any) -> Any:
    """What Keras serialised, as {name: class, argument: value}, without what every layer has."""
    if isinstance(value, dict) and "class_name" in value:
        inner = {name: _part(held) for name, held in value["config"].items() if name not in BESIDE}
        return {"name": value["class_name"], **{name: held for name, held in inner.items() if held is not None}}
    return [_part(held) for held in value] if isinstance(value, (list, tuple)) else value


def _plain(value: Any) -> Any:
    """The same of what YAML knows."""
    if isinstance(value, Mapping):
        return {str(name): _plain(held) for name, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(held) for held in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, bool | int | float | str]]:
    """Names with dots, and values that HPARAMS knows; what is None is left out."""
    for name, value in settings.items():
        full = f"{before}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{full}.")
        elif isinstance(value, (bool, int, float, str)):
            yield full.removesuffix(".name"), value
        elif value is not None:
            yield full, str(_plain(value))
