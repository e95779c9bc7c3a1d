"""scikit-learn's handwritten digits as a TensorFlow dataset, made on first use without a network."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from keras_vae.data import made_here

TEST_EXAMPLES = 360


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
        # Abstract in TFDS, and not called where the splits are generators.
        raise NotImplementedError("_split_generators gives the examples")


def prepared(data_dir: str | os.PathLike | None = None) -> contextlib.AbstractContextManager[tfds.core.DatasetBuilder]:
    """The builder, with its files there to be read; see `made_here.prepared`."""
    return made_here.prepared(Digits, data_dir)
