"""Which examples are held out, so that examples that are added later move none of those that are there.

A file is held out by the hash of its name, a row of an array by its place: one of each 1 / fraction rows that follow
each other, drawn by the seed. Of a dataset by name, which never grows, a fixed number is drawn.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np


def by_name(names: Sequence[str], fraction: float, seed: Sequence[int]) -> np.ndarray:
    """The files to hold out, bool [N]: those whose hash, uniform in [0, 1), is below `fraction`.

    So about `fraction` of them; at least one, that of the smallest hash, and never all. The hash is of the name and the
    seed alone, the same on every machine.
    """
    hashes = np.array([_uniform(name, seed) for name in names])
    chosen = hashes < fraction
    chosen[hashes.argmin()] = True
    if chosen.all():
        chosen[hashes.argmax()] = False
    return chosen


def by_place(count: int, fraction: float, seed: Sequence[int]) -> np.ndarray:
    """The rows to hold out, bool [count]: one of each 1 / fraction that follow each other, at least one.

    Rows that are added at the end change none of those before them.
    """
    chosen = np.zeros(count, bool)
    number = math.ceil(count * fraction)
    # Rounded, as 35 / 0.35 is more than 100 in floating point.
    edges = np.ceil(np.round(np.arange(number + 1) / fraction, 6)).astype(np.int64)
    drawn = np.random.default_rng(tuple(seed)).random(number)
    rows = edges[:-1] + (drawn * np.diff(edges)).astype(np.int64)
    chosen[rows[rows < count]] = True
    if not chosen.any():
        # Again a rule by which no row that is added makes way for an older one.
        chosen[np.random.default_rng((*seed, 1)).random(count).argmin()] = True
    return chosen


def by_lot(count: int, fraction: float, seed: Sequence[int]) -> np.ndarray:
    """The rows to hold out, bool [count]: round(count * fraction), at least one."""
    chosen = np.zeros(count, bool)
    chosen[np.random.default_rng(tuple(seed)).permutation(count)[: max(1, round(count * fraction))]] = True
    return chosen


def _uniform(name: str, seed: Sequence[int]) -> float:
    text = f"{'/'.join(map(str, seed))}/{name}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) / 2**64
