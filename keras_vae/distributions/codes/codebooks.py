"""Codebooks: which vector an index stands for, and which index a vector.

A list of vectors, a grid of levels that needs no list, and two ways to make larger ones: codes that are added up, stage
after stage, and codes that stand side by side.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# Below this, the moving count of a code is that of none at all.
TINY = 1e-6
# Two vectors that differ by less, by the size of their numbers, are one: draws in training are rounded.
SAME = 1e-4


class Codebook:
    """Vectors of `dim` numbers, each named by `depth` indices from 0 to `num_codes` - 1.

    Attributes:
        num_codes: S.
        dim: D.
        tail: (depth,) if the indices of a vector are a last axis of their own, () for one index and no such axis.
    """

    num_codes: int
    dim: int
    tail: tuple[int, ...] = ()

    @property
    def depth(self) -> int:
        """Number of indices of one vector."""
        return self.tail[0] if self.tail else 1

    def lookup(self, indices: tf.Tensor) -> tf.Tensor:
        """Vectors [..., D] for int32 [..., *tail]."""
        raise TypeError(f"{type(self).__name__} must define lookup(indices).")

    def nearest(self, vectors: tf.Tensor) -> tf.Tensor:
        """int32 [..., *tail] for vectors [..., D]: the first of the nearest, or of stages the nearest one by one."""
        raise TypeError(f"{type(self).__name__} must define nearest(vectors).")

    def are(self, vectors: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        """Whether vectors [..., D] are those of indices [..., *tail], bool [...]."""
        return tf.equal(self.nearest(vectors), indices)

    def gaps(self, vectors: np.ndarray, indices: np.ndarray, unit: Any = 1.0) -> np.ndarray:
        """How far vectors [M, D] would have to move until these codes were the nearest, float64 [M, *tail].

        0 where they are; of stages, each after what the codes before it left over. It is the distance to the plane
        between two codes, (|v - c|^2 - |v - c'|^2) / (2 |c - c'|): what is as small as the rounding of v is a tie.

        Args:
            vectors: as they are quantised.
            indices: [M, *tail], from 0 to S - 1.
            unit: of the numbers of the vectors, [D] or one for all, in which the distance is measured.
        """
        given = np.asarray(vectors, "float64")
        own, best = (
            np.asarray(self.lookup(found), "float64")
            for found in (tf.constant(indices, tf.int32), self.nearest(tf.constant(given, tf.float32)))
        )
        found = _between(given, own, best) * np.max(unit)
        return np.broadcast_to(found[:, np.newaxis], [len(given), *self.tail]) if self.tail else found


class Listed(Codebook):
    """The rows of a table [S, D]."""

    def __init__(self, vectors: tf.Tensor) -> None:
        self.vectors = vectors
        self.num_codes, self.dim = (int(n) for n in vectors.shape)

    def lookup(self, indices: tf.Tensor) -> tf.Tensor:
        """Rows of the table."""
        return lookup(self.vectors, indices)

    def nearest(self, vectors: tf.Tensor) -> tf.Tensor:
        """By the distances to all of them."""
        return nearest(vectors, self.vectors)

    def gaps(self, vectors: np.ndarray, indices: np.ndarray, unit: Any = 1.0) -> np.ndarray:
        """The furthest of the planes between the code and any other."""
        table = np.asarray(self.vectors, "float64")
        given = np.asarray(vectors, "float64")
        rows = [_between(v, table[i], table).max() for v, i in zip(given, indices, strict=True)]
        return np.array(rows, "float64") * np.max(unit)


class Levels(Codebook):
    """All vectors whose i-th number is one of `levels[i]` equally spaced ones: low_i + step_i * (0 to levels_i - 1).

    The index is that of Mentzer et al. 2023: the number of the level of each dimension, the first counting fastest.

    Args:
        levels: of each of the D dimensions.
        low: the lowest of each.
        step: from one to the next, of each.
    """

    def __init__(self, levels: Sequence[int], low: Sequence[float], step: Sequence[float]) -> None:
        self.levels = np.asarray(levels, "int32")
        self.low, self.step = np.asarray(low, "float32"), np.asarray(step, "float32")
        self.dim, self.num_codes = len(self.levels), int(np.prod(self.levels.astype("int64")))
        self.basis = np.concatenate([[1], np.cumprod(self.levels[:-1])]).astype("int32")

    def lookup(self, indices: tf.Tensor) -> tf.Tensor:
        """From the digits of the index."""
        digits = tf.math.floormod(tf.math.floordiv(indices[..., tf.newaxis], self.basis), self.levels)
        return self.low + self.step * tf.cast(digits, tf.float32)

    def nearest(self, vectors: tf.Tensor) -> tf.Tensor:
        """By rounding each number: no list is searched."""
        digits = tf.cast(tf.round((vectors - self.low) / self.step), tf.int32)
        return tf.reduce_sum(tf.clip_by_value(digits, 0, self.levels - 1) * self.basis, axis=-1)

    def gaps(self, vectors: np.ndarray, indices: np.ndarray, unit: Any = 1.0) -> np.ndarray:
        """Number by number, to the middle between two levels; the largest."""
        place = (np.asarray(vectors, "float64") - self.low) / self.step
        digits = np.asarray(indices)[:, np.newaxis] // self.basis % self.levels
        below = np.where(digits > 0, digits - 0.5 - place, 0.0)
        above = np.where(digits < self.levels - 1, place - digits - 0.5, 0.0)
        return np.max(np.maximum(np.maximum(below, above), 0.0) * self.step * unit, axis=-1)


class ComposedCodebook(Codebook):
    """What is made of several codebooks of as many codes each; the indices of all, one after another."""

    def __init__(self, parts: Sequence[Codebook]) -> None:
        self.parts, self.num_codes = list(parts), parts[0].num_codes
        self.tail = (sum(part.depth for part in parts),)

    def split(self, indices: tf.Tensor) -> list[tf.Tensor]:
        """The indices [..., *tail] of each part."""
        found, first = [], 0
        for part in self.parts:
            found.append(indices[..., first : first + part.depth] if part.tail else indices[..., first])
            first += part.depth
        return found

    def join(self, indices: Sequence[tf.Tensor]) -> tf.Tensor:
        """The indices of all from those of each part."""
        pairs = zip(self.parts, indices, strict=True)
        return tf.concat([each if part.tail else each[..., tf.newaxis] for part, each in pairs], axis=-1)

    def are(self, vectors: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        """Whether they are equal: what is nearest stage by stage need not be the code that a sum was made of."""
        found = self.lookup(indices)
        return tf.reduce_all(tf.abs(vectors - found) <= SAME * (1.0 + tf.abs(found)), axis=-1)


class Stages(ComposedCodebook):
    """Sums of one code of each part (Lee et al. 2022, "Autoregressive image generation using residual quantization").

    A vector is encoded part by part, each taking the code nearest to what the ones before it left over.

    Args:
        parts: codebooks of vectors of as many numbers.
        scales: factors on the codes of each.
        offsets: what is added to the codes of each, before they are scaled.
    """

    def __init__(self, parts: Sequence[Codebook], scales: Sequence[Any], offsets: Sequence[Any]) -> None:
        super().__init__(parts)
        self.dim, self.scales, self.offsets = parts[0].dim, list(scales), list(offsets)

    def stages(self, indices: tf.Tensor) -> list[tf.Tensor]:
        """What each part adds, [..., D]."""
        each = zip(self.parts, self.scales, self.offsets, self.split(indices), strict=True)
        return [(part.lookup(indices) + offset) * scale for part, scale, offset, indices in each]

    def lookup(self, indices: tf.Tensor) -> tf.Tensor:
        """The sum."""
        return tf.add_n(self.stages(indices))

    def nearest(self, vectors: tf.Tensor) -> tf.Tensor:
        """Part by part."""
        found = []
        for part, scale, offset in zip(self.parts, self.scales, self.offsets, strict=True):
            found.append(part.nearest(vectors / scale - offset))
            vectors = vectors - (part.lookup(found[-1]) + offset) * scale
        return self.join(found)

    def gaps(self, vectors: np.ndarray, indices: np.ndarray, unit: Any = 1.0) -> np.ndarray:
        """Part by part, each of what the codes before it left over."""
        rest, found = np.asarray(vectors, "float64"), []
        for part, scale, offset, own in zip(self.parts, self.scales, self.offsets, self.split(indices), strict=True):
            found.append(np.reshape(part.gaps(rest / scale - offset, own, unit * scale), [len(rest), part.depth]))
            rest = rest - (np.asarray(part.lookup(tf.constant(own, tf.int32)), "float64") + offset) * scale
        return np.concatenate(found, axis=-1)


class Products(ComposedCodebook):
    """Codes side by side: a vector is cut in pieces, of which each part has one (a product code)."""

    def __init__(self, parts: Sequence[Codebook]) -> None:
        super().__init__(parts)
        self.dim = sum(part.dim for part in parts)

    def lookup(self, indices: tf.Tensor) -> tf.Tensor:
        """The pieces of all."""
        pairs = zip(self.parts, self.split(indices), strict=True)
        return tf.concat([part.lookup(each) for part, each in pairs], axis=-1)

    def nearest(self, vectors: tf.Tensor) -> tf.Tensor:
        """Each piece by its part."""
        pieces = tf.split(vectors, [part.dim for part in self.parts], axis=-1)
        return self.join([part.nearest(piece) for part, piece in zip(self.parts, pieces, strict=True)])

    def gaps(self, vectors: np.ndarray, indices: np.ndarray, unit: Any = 1.0) -> np.ndarray:
        """Each piece by its part."""
        ends = np.cumsum([part.dim for part in self.parts])[:-1]
        units = np.split(np.broadcast_to(unit, [self.dim]), ends)
        each = zip(self.parts, np.split(np.asarray(vectors), ends, axis=-1), self.split(indices), units, strict=True)
        found = [np.reshape(part.gaps(piece, own, size), [len(piece), part.depth]) for part, piece, own, size in each]
        return np.concatenate(found, axis=-1)


def _between(vectors: np.ndarray, own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How far vectors lie beyond the planes between codes of their own and others, [...], 0 on this side of them."""
    apart = np.linalg.norm(own - others, axis=-1)
    further = np.square(vectors - own).sum(axis=-1) - np.square(vectors - others).sum(axis=-1)
    return np.maximum(np.divide(further, 2.0 * apart, out=np.zeros_like(apart), where=apart > 0), 0.0)


def codebook_of(codes: Any) -> Codebook:
    """A codebook as it is, and a table [S, D] as one."""
    return codes if hasattr(codes, "tail") else Listed(codes)


def nearest(vectors: tf.Tensor, codebook: tf.Tensor) -> tf.Tensor:
    """argmin_k |v - c_k|, int32 [...], for vectors [..., D] and a codebook [S, D]; the first of equals."""
    # |v|^2 is the same for all k.
    distances = tf.reduce_sum(tf.square(codebook), axis=-1) - 2.0 * tf.tensordot(vectors, tf.transpose(codebook), 1)
    return tf.argmin(distances, axis=-1, output_type=tf.int32)


def lookup(codebook: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """The vectors of indices, [..., D]."""
    return tf.gather(codebook, indices)


def indices_of(z: tf.Tensor, codebook: Any) -> tf.Tensor:
    """The nearest codes of z [..., N * D], int32 [..., N, *tail], of a codebook or a table of one."""
    codes = codebook_of(codebook)
    return codes.nearest(vectors_of(z, codes.dim))


def vectors_of(z: tf.Tensor, dim: int) -> tf.Tensor:
    """z [..., N * D] as [..., N, D]."""
    return tf.reshape(z, tf.concat([tf.shape(z)[:-1], [int(z.shape[-1]) // dim, dim]], axis=0))


def perplexity(counts: tf.Tensor) -> tf.Tensor:
    """exp of the entropy of the frequencies: S for S codes that are used equally, 1 for one that is used alone."""
    p = tf.math.divide_no_nan(counts, tf.reduce_sum(counts))
    return tf.exp(-tf.reduce_sum(tf.math.xlogy(p, p)))
