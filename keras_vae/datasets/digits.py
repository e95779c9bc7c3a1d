"""scikit-learn's handwritten digits as a TensorFlow dataset, made on first use without a network."""

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

TEST_EXAMPLES = 360
logger = logging.getLogger(__name__)


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 handwritten digits, 8x8 gray: 1,437 to train and 360 to test, the same ones always.

    Pixels count from 0 to 16 and are stored as round(255 count / 16).
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="The digits that scikit-learn bundles, from the UCI ML repository (Alpaydin and Kaynak, 1998).",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
        # numpy promises that the legacy generator never changes, so neither does the split.
        order = np.random.RandomState(0).permutation(len(images))

        def examples(rows: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
            for row in rows.tolist():
                yield row, {"image": images[row], "label": int(digits.target[row])}

        return {"train": examples(order[TEST_EXAMPLES:]), "test": examples(order[:TEST_EXAMPLES])}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        raise NotImplementedError("_split_generators gives the examples")


def cache_folder() -> Path:
    """Where datasets of ours are kept: $KERAS_VAE_CACHE/tfds, or keras_vae/tfds in the user's cache folder."""
    if ours := os.environ.get("KERAS_VAE_CACHE"):
        return Path(ours) / "tfds"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keras_vae" / "tfds"


@contextlib.contextmanager
def prepared(data_dir: str | os.PathLike | None = None) -> Iterator[tfds.core.DatasetBuilder]:
    """The builder, with its files there to be read.

    Args:
        data_dir: where the files are kept; None for `cache_folder()`. Where it cannot be written, they are made in a
            temporary folder for the time of the context.
    """
    with contextlib.ExitStack() as stack:
        try:
            root = Path(data_dir) if data_dir is not None else cache_folder()
            builder = Digits(data_dir=root)
            if not builder.is_prepared():
                _prepare(root)
                builder = Digits(data_dir=root)
        except (OSError, RuntimeError) as error:  # Path.home() raises RuntimeError for a user without a home
            logger.info("digits are made in a temporary folder: %s", error)
            temporary = stack.enter_context(tempfile.TemporaryDirectory())
            builder = Digits(data_dir=temporary)
            _write(builder)
        yield builder


def _prepare(root: Path) -> None:
    """Write the files beside their place and move them there in one step: no process ever sees half of them."""
    root.mkdir(parents=True, exist_ok=True)
    # Not left to TFDS: it names its temporary folder by Python's random numbers, and two processes with the same seed
    # would write into the same one.
    with tempfile.TemporaryDirectory(prefix=".digits-", dir=root) as temporary:
        builder = Digits(data_dir=temporary)
        _write(builder)
        place = Path(Digits(data_dir=root).data_path)
        place.parent.mkdir(exist_ok=True)
        try:
            Path(builder.data_path).rename(place)
        except OSError:
            if not Digits(data_dir=root).is_prepared():  # or another process was quicker
                raise


def _write(builder: Digits) -> None:
    """Prepare without the messages of TFDS, which speak of a download and of the temporary folder."""
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        builder.download_and_prepare()
