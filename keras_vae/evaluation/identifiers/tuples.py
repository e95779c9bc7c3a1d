"""Identifiers of a few digits: the indices of an example's codes, from the coarse to the fine."""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.evaluation.statistics import checked_batches, entropy, given
from keras_vae.models.vae import VAE


@dataclasses.dataclass(frozen=True)
class SemanticIDs:
    """A tuple of digits for each example (Rajput et al. 2023, "Recommender systems with generative retrieval").

    Of residual codes the first digit says most, and examples that share it are alike.

    Attributes:
        digits: int32 [N, M], from 0 to S - 1.
        num_codes: S.
    """

    digits: np.ndarray
    num_codes: int

    def __len__(self) -> int:
        """N."""
        return len(self.digits)

    @property
    def num_distinct(self) -> int:
        """How many different ones there are."""
        return len(np.unique(self.digits, axis=0))

    @property
    def collision_rate(self) -> float:
        """The share of the examples whose identifier another example has, too."""
        _, place, counts = np.unique(self.digits, axis=0, return_inverse=True, return_counts=True)
        return float(np.mean(counts[place.ravel()] > 1))

    @property
    def entropies(self) -> list[float]:
        """H(k_m) of each digit over the examples, in bits: at most log2 S."""
        shares = [np.bincount(column, minlength=self.num_codes) / len(self) for column in self.digits.T]
        return [entropy(share) / np.log(2.0) for share in shares]

    @property
    def joint_entropy(self) -> float:
        """H(k_1, ..., k_M) over the examples, in bits: log2 N where no two are alike."""
        _, counts = np.unique(self.digits, axis=0, return_counts=True)
        return float(entropy(counts / len(self)) / np.log(2.0))

    @property
    def usage(self) -> list[float]:
        """The share of the S codes that each digit uses."""
        return [len(np.unique(column)) / self.num_codes for column in self.digits.T]

    def distinct(self) -> np.ndarray:
        """Identifiers that no two examples share, int32 [N, M + 1].

        The last digit counts the examples before it with the same others: 0 for the first. Those of more examples,
        behind these, leave all of these as they are.
        """
        _, place = np.unique(self.digits, axis=0, return_inverse=True)
        place = place.ravel()
        order = np.argsort(place, kind="stable")
        starts = np.r_[True, np.diff(place[order]) > 0]
        first = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
        last = np.empty(len(order), np.int32)
        last[order] = np.arange(len(order)) - first
        return np.concatenate([self.digits, last[:, np.newaxis]], axis=1)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "num_examples": len(self),
            "num_codes": self.num_codes,
            "num_distinct": self.num_distinct,
            "collision_rate": self.collision_rate,
            "entropies_bits": self.entropies,
            "joint_entropy_bits": self.joint_entropy,
            "usage": self.usage,
        }

    def __str__(self) -> str:
        """Two lines for people."""
        bits = ", ".join(f"{value:.2f}" for value in self.entropies)
        return (
            f"{self.num_distinct:,} different identifiers of {len(self):,} examples: {self.collision_rate:.2%} share "
            f"theirs with another.\nEntropy of the digits: {bits} of at most {np.log2(self.num_codes):.2f} bits; of "
            f"all together {self.joint_entropy:.2f} of at most {np.log2(len(self)):.2f}."
        )


def codes_of(vae: VAE) -> int:
    """S, how many codes there are.

    Raises:
        ValueError: naming the posterior.
    """
    posterior = vae.encoder.posterior
    if posterior.num_codes is None:
        raise ValueError(
            f"{type(posterior).__name__} has no codes with indices, of which identifiers are made: train a model with "
            "posteriors.Residual(posteriors.VectorQuantized(...), num_stages=3), such as the config semantic_ids."
        )
    return posterior.num_codes


def has_one_tuple(vae: VAE) -> bool:
    """Whether the indices of an example are those of one vector, and not of the places of a map."""
    posterior = vae.encoder.posterior
    return posterior.num_codes is not None and math.prod(posterior.indices_shape[:2]) == 1


def semantic_ids(vae: VAE, data: Any) -> SemanticIDs:
    """The identifiers of examples: the indices of their codes, place by place, at each place stage by stage.

    Args:
        vae: a model with a posterior of codes.
        data: a finite data set, with conditions if the model has any; see `evaluation`.

    Raises:
        ValueError: for a posterior without codes, no data, and data outside of the likelihood's support.
    """
    num_codes = codes_of(vae)
    found = [digits(vae, x, given(vae, y)) for x, y in checked_batches(vae, data)]
    if not sum(map(len, found)):
        raise ValueError("There are no data to encode.")
    return SemanticIDs(np.concatenate(found), num_codes)


def digits(vae: VAE, x: Any, condition: Any) -> np.ndarray:
    """Those of a batch, int32 [B, M]."""

    def indices(x: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
        found = vae.encode(x, condition).indices
        return tf.reshape(found, [tf.shape(found)[0], -1])

    compiled = vae.compiled_methods.get(vae, "indices", indices)
    return np.asarray(compiled(x, condition), np.int32)
