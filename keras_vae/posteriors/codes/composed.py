"""Codes made of codes: residual ones are added up, grouped ones stand side by side.

posteriors.Residual(posteriors.VectorQuantized(4 * 4 * 8, (4, 4), num_codes=64), num_stages=4)
posteriors.Grouped(posteriors.FiniteScalar([5, 5, 5], (4, 4)), num_groups=2)
posteriors.Grouped(posteriors.Residual(base, 2), 2)
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import seeds
from keras_vae.arguments import check_count, check_number, require_kind
from keras_vae.distributions.codes.codebooks import Products, Stages
from keras_vae.posteriors.codes.quantizer import Coded, Quantizer
from keras_vae.posteriors.posterior import Posterior
from keras_vae.serialization import register


class ComposedCodes(Quantizer):
    """A quantiser made of copies of another one; their indices are the last axis.

    Args:
        base: the first of them.
        count: how many there are.
        code_dim: D of a vector of all.
    """

    def __init__(self, base: Any, count: int, code_dim: int, **kwargs: Any) -> None:
        super().__init__(base.grid, code_dim, base.num_codes, depth=count * base.depth, **kwargs)
        # Each has codes of its own, of the same kind.
        self.base = base
        self.others = [base._like() for _ in range(count - 1)]
        for stream, leaf in enumerate(self.leaves()):
            leaf.stream = stream

    @property
    def remedy(self) -> str:  # type: ignore[override]
        """That of the base."""
        return self.base.remedy

    def parts(self) -> list[Quantizer]:
        """All of them."""
        return [self.base, *self.others]

    def leaves(self) -> list[Quantizer]:
        """Those that are made of no others."""
        return [leaf for part in self.parts() for leaf in part.leaves()]

    def build_codes(self) -> None:
        """Make those of all."""
        for part in self.parts():
            part.build_codes()
            # They have no projection of their own.
            part.built = True

    def follow(self, step: keras.Variable) -> None:
        """Tell all."""
        super().follow(step)
        for part in self.parts():
            part.follow(step)


def check_base(base: Any) -> Any:
    """A quantiser as it is.

    Raises:
        TypeError: with an example.
    """
    require_kind("base", base, Quantizer, "a posterior of codes such as posteriors.VectorQuantized(64, (4, 4))")
    return base


@register
class ResidualCodes(ComposedCodes):
    """Each vector is a sum of codes: stage s quantises what the stages before it left over.

        r_1 = e,  k_s = nearest code of r_s in codebook s,  r_(s+1) = r_s - c_s,  z = c_1 + ... + c_S'

    (Lee et al. 2022, "Autoregressive image generation using residual quantization"; Zeghidour et al. 2021,
    "SoundStream"). The codes of levels and signs are made smaller from stage to stage, so that they fit what is left:
    by 1 / L for L levels, by half for signs. The commitment is the sum of |r_s - c_s|^2 over the stages.

    Args:
        base: a posterior of codes: the first stage; the others are of the same kind, each with its own codes.
        num_stages: S', the depth of the indices [B, N, depth].
        dropout: probability that an example is decoded, in training, from its first n stages alone, n uniform: the
            first stages then are worth something by themselves, and fewer may be sent.

    Raises:
        TypeError: for a base that has no codes.
        ValueError: for no stages, or a probability out of range.
    """

    def __init__(self, base: Posterior, num_stages: int, dropout: float = 0.0, **kwargs: Any) -> None:
        base = check_base(base)
        count = check_count("num_stages", num_stages)
        super().__init__(base, count, base.code_dim, **kwargs)
        self.num_stages = count
        self.dropout = check_number("dropout", dropout, at_least=0, at_most=1)
        self.stage_scale, self.stage_offset = base.stage_scale**count, base.stage_offset
        self._scales = [base.stage_scale**stage for stage in range(count)]
        self._offsets = [base.stage_offset * (stage > 0) for stage in range(count)]

    @property
    def codes(self) -> Stages:
        """The stages."""
        return Stages([part.codes for part in self.parts()], self._scales, self._offsets)

    def build_preparation(self) -> None:
        """That of the base."""
        self.base.build_preparation()

    def prepare(self, vectors: tf.Tensor, training: bool = False) -> tf.Tensor:
        """As the base does, once."""
        return self.base.prepare(vectors, training)

    def through(self, vectors: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """As the base does."""
        return self.base.through(vectors, values)

    def code(self, vectors: tf.Tensor, training: bool) -> Coded:
        """Stage by stage."""
        kept = self._kept(tf.shape(vectors)[0]) if training and self.dropout else None
        rest, total, commitment, indices = vectors, tf.zeros_like(vectors), tf.zeros_like(vectors[..., 0]), []
        each, pulls = zip(self.parts(), self._scales, self._offsets, strict=True), []
        for stage, (part, scale, offset) in enumerate(each):
            coded = part.code(rest / scale - offset, training)
            indices.append(coded.indices)
            pulls += [coded.pull] if coded.pull is not None else []
            values, distance = (coded.values + offset) * scale, coded.commitment * float(np.mean(np.square(scale)))
            rest = rest - values
            if kept is not None:
                there = tf.cast(stage < kept, tf.float32)
                values, distance = values * there[:, tf.newaxis, tf.newaxis], distance * there[:, tf.newaxis]
            total, commitment = total + values, commitment + distance
        return Coded(self.codes.join(indices), total, commitment, tf.add_n(pulls) if pulls else None)

    def _kept(self, batch: tf.Tensor) -> tf.Tensor:
        """How many stages of each example are decoded, [B]."""
        drawn = tf.random.stateless_uniform([2, batch], seeds.fold_in(0, self.step, self.num_stages))
        some = 1 + tf.cast(tf.floor(drawn[1] * self.num_stages), tf.int32)
        return tf.where(drawn[0] < self.dropout, tf.minimum(some, self.num_stages), self.num_stages)


@register
class GroupedCodes(ComposedCodes):
    """Each vector is several codes side by side, one of each group, as in product quantisation (Jegou et al. 2011).

    Args:
        base: a posterior of codes: the first group; the others are of the same kind, each with its own codes.
        num_groups: how many; z has as many times the dimensions of the base.

    Raises:
        TypeError: for a base that has no codes.
        ValueError: for no groups.
    """

    def __init__(self, base: Posterior, num_groups: int, **kwargs: Any) -> None:
        base = check_base(base)
        count = check_count("num_groups", num_groups)
        super().__init__(base, count, count * base.code_dim, **kwargs)
        self.num_groups = count
        scale, offset = (np.broadcast_to(each, [base.code_dim]) for each in (base.stage_scale, base.stage_offset))
        self.stage_scale, self.stage_offset = np.tile(scale, count), np.tile(offset, count)

    @property
    def codes(self) -> Products:
        """The groups."""
        return Products([part.codes for part in self.parts()])

    def _pieces(self, vectors: tf.Tensor) -> list[tf.Tensor]:
        return tf.split(vectors, self.num_groups, axis=-1)

    def build_preparation(self) -> None:
        """Those of all."""
        for part in self.parts():
            part.build_preparation()

    def prepare(self, vectors: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Each piece as its group does."""
        pairs = zip(self.parts(), self._pieces(vectors), strict=True)
        return tf.concat([part.prepare(piece, training) for part, piece in pairs], axis=-1)

    def through(self, vectors: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """As the base does with each piece."""
        pairs = zip(self._pieces(vectors), self._pieces(values), strict=True)
        return tf.concat([self.base.through(*pair) for pair in pairs], axis=-1)

    def code(self, vectors: tf.Tensor, training: bool) -> Coded:
        """Group by group."""
        pairs = zip(self.parts(), self._pieces(vectors), strict=True)
        coded = [part.code(piece, training) for part, piece in pairs]
        return Coded(
            self.codes.join([each.indices for each in coded]),
            tf.concat([each.values for each in coded], axis=-1),
            tf.add_n([each.commitment for each in coded]),
            None if coded[0].pull is None else tf.concat([each.pull for each in coded], axis=-1),
        )


# A config and a saved model know a class by its name alone, and a residual network is another thing.
Residual, Grouped = ResidualCodes, GroupedCodes
