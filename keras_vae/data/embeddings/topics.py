"""Embeddings of items in a tree of topics: a data set of vectors whose law is known, made in a moment."""

from typing import Any

import numpy as np

from keras_vae.data.examples import Examples, Source

NAME, VERSION = "topics", "1.0.0"
DIM, TRAIN, TEST = 64, 30_000, 2000
# Topics, topics in each of these, and in each of those; how far apart they are, and the items in one.
BRANCHES, SPREADS, NOISE = (8, 8, 8), (1.0, 0.6, 0.4), 0.25


def load(name: str, labels: bool = False) -> Source:
    """The source, "topics": 30,000 vectors to train and 2,000 to test, float32 [64] of length 1, always the same.

    The label is the first of the three topics of an item.

    Args:
        name: "topics".
        labels: whether to read labels.

    Raises:
        ValueError: for options, of which there are none.
    """
    if name != NAME:
        raise ValueError(f"{NAME} has no options, so that {name!r} is no data set.")
    splits = {}
    for seed, (split, count) in enumerate((("train", TRAIN), ("test", TEST))):
        x, topics = make(count, seed)
        splits[split] = Examples(x, topics[:, 0] if labels else None)
    return Source(splits, name=f"{NAME}/{VERSION}")


def make(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors [count, 64] in float32, and their topics [count, 3], of which the first has the others in it.

        x = e / |e|,  e = c_i + 0.6 c_ij + 0.4 c_ijk + 0.25 noise,

    with i, j, k uniform and all c, and the noise, normal with variance 1/64 in each number.
    """
    # numpy promises that the legacy generator never changes. The tree is the same for all seeds.
    tree: Any = np.random.RandomState(2019)
    random: Any = np.random.RandomState(seed)
    topics = np.stack([random.randint(0, branches, count) for branches in BRANCHES], axis=1)
    e = NOISE * random.standard_normal((count, DIM))
    for level, spread in enumerate(SPREADS):
        centers = tree.standard_normal((*BRANCHES[: level + 1], DIM))
        e += spread * centers[tuple(topics[:, : level + 1].T)]
    return (e / np.linalg.norm(e, axis=1, keepdims=True)).astype("float32"), topics
