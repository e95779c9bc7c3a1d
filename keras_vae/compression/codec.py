"""Bits back: which part of an example is pushed and popped in which order, so that log q(z|x) comes back.

Of each batch z is popped by q(z|x), then x pushed by p(x|z), and z by p(z): -log p(x|z) - log p(z) + log q(z|x) nats,
whose mean is minus the ELBO (Townsend et al. 2019, "Practical lossless compression with latent variables using bits
back coding"). The other side pops z and x, and pushes z by q(z|x): so come back the bits that were popped.

Of a hierarchy the levels are popped from the top down and pushed from the bottom up, as in Townsend et al. 2020,
"HiLLoC". Kingma et al. 2019, "Bit-Swap", push between two pops what the first has made known, and so begin with less;
that takes posteriors from the bottom up, q(z_2|z_1), and those of a ladder see x in every level. Instead of it the
first batches here are of a single example, and grow with what lies on the stack.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_vae.compression.latents import Cells, NormalCode, Normals, pop_posterior, push_posterior
from keras_vae.compression.networks import MOST_LEVELS, Networks
from keras_vae.compression.stack import Stack
from keras_vae.models.vae import VAE

# A batch is so many times smaller than what was coded before it.
GROWTH = 8
# Bits of a cell in units of the prior's deviation, and cells within the narrow ones of the posteriors.
FEWEST_BITS, MOST_BITS, CELLS, NARROW = 4, 20, 4.0, 0.01
# Batches that are looked at for that.
LOOKED_AT = 8
# Bits of one latent on the stack at most, generously.
BITS_OF_A_LATENT = 48


def check_codable(vae: VAE, refine_steps: int = 0) -> None:
    """Refuse a model of whose parts one has no code.

    Args:
        vae: the model.
        refine_steps: whether posteriors are to be fitted, of which a hierarchy has none that could be.

    Raises:
        ValueError: naming it, and those that have one.
    """
    likelihood, posterior, prior, decoder = vae.decoder.likelihood, vae.encoder.posterior, vae.prior, vae.decoder
    name = type(likelihood).__name__
    if vae.targets or type(vae).infer is not VAE.infer:
        raise ValueError(
            f"{type(vae).__name__} has another relation of x and z than p(x|z) p(z) and q(z|x), of which alone there "
            "is a code: take a plain kv.VAE without targets."
        )
    if vae.missing:
        raise ValueError("Data of which values are missing have no code: train without missing=True.")
    if likelihood.levels is None:
        raise ValueError(
            f"{name} gives densities, and only probabilities have a code: likelihoods.Bernoulli, DiscretizedLogistic, "
            "DiscretizedLogisticMixture, Categorical or Binomial."
        )
    if not likelihood.can_miss:
        raise ValueError(f"Values that are not independent given z have no code here, and those of {name} are not.")
    if likelihood.levels > MOST_LEVELS:
        raise ValueError(f"{name} is of {likelihood.levels} levels, and there is a code of {MOST_LEVELS} at most.")
    if posterior.coded_as != "normal":
        raise ValueError(
            f"{type(posterior).__name__} has no code as a posterior: posteriors.MultivariateNormalDiag has one."
        )
    if decoder.levels_coded_as != "normal":
        raise ValueError(
            "The posterior of the levels of this hierarchy has no code: the one that a LadderDecoder has unless told "
            "otherwise, and MultivariateNormalDiag, have one."
        )
    if prior.coded_as is None:
        raise ValueError(
            f"{type(prior).__name__} has no code as a prior: StandardNormal, ConditionalNormal, NormalMixture, "
            "VampPrior and RealNVP have one."
        )
    if refine_steps and vae.num_levels > 1:
        raise ValueError(
            f"refine_steps fits posteriors of one level, and this model has {vae.num_levels}: leave it at 0."
        )


def batches(n: int, rows: int) -> Iterator[slice]:
    """The examples of each batch: single ones at first, then more and more of them, up to `rows`."""
    done = 0
    while done < n:
        size = min(max(1, done // GROWTH), rows, n - done)
        yield slice(done, done + size)
        done += size


class Codec:
    """Pushes examples on a stack, and pops them.

    Args:
        vae: the model.
        rows: of a batch of its networks.
        bits: of the grid of latents; 0 before `bits_for` was asked.
        refine_steps: of the fit of posteriors.
    """

    def __init__(self, vae: VAE, rows: int, bits: int = 0, refine_steps: int = 0) -> None:
        check_codable(vae, refine_steps)
        self.vae, self.bits = vae, bits
        self.networks = Networks(vae, rows, refine_steps)
        self.levels = vae.decoder.likelihood.levels or 2
        self.no_features = self.networks.no_features()

    def words_for(self, n: int) -> int:
        """More words than the latents of n examples are."""
        return 64 + sum(self.networks.sizes) * n * BITS_OF_A_LATENT // 32

    @property
    def num_words(self) -> int:
        """Words with which a stack begins."""
        return self.words_for(self.networks.rows)

    def bits_for(self, x: np.ndarray, c: np.ndarray | None) -> int:
        """Bits of the grid, such that cells are small beside nearly all posteriors of some examples."""
        ratios = []
        rows = self.networks.rows
        for first in range(0, min(len(x), LOOKED_AT * rows), rows):
            some = slice(first, first + rows)
            given = None if c is None else c[some]
            q, features, _ = self.networks.posterior(x[some], given)
            code = self.networks.prior(len(q.loc), given, 0)
            ratios.append((q.scale / code.grid.scale).ravel())
            z = [q.loc]
            for level in range(1, len(self.networks.sizes)):
                p, q = self.networks.level(level, z, features, given)
                ratios.append((q.scale / p.scale).ravel())
                z.append(q.loc)
        narrow = max(float(np.quantile(np.concatenate(ratios), NARROW)), 1e-30)
        return int(np.clip(np.ceil(np.log2(CELLS / narrow)) + code.extra_bits, FEWEST_BITS, MOST_BITS))

    def push(self, stack: Stack, number: int, k: np.ndarray, c: np.ndarray | None) -> float | None:
        """A batch of examples as levels; the sum of their ELBOs where posteriors are fitted.

        Args:
            stack: where to.
            number: of the batch, from 0 on.
            k: int [n, *event_shape].
            c: their conditions.
        """
        networks, words = self.networks, self.words_for(len(k))
        stack.scramble(2 * number + 1, words)
        q, features, bound = networks.posterior(self._scaled(k), c, number)
        code = networks.prior(len(k), c, self.bits)
        codes: list[Any] = [code]
        integers = [pop_posterior(stack, code.grid, q)]
        z = [code.grid.values(integers[0])]
        for level in range(1, len(networks.sizes)):
            p, q = networks.level(level, z, features, c)
            codes.append(NormalCode(p, self.bits))
            integers.append(pop_posterior(stack, codes[-1].grid, q))
            z.append(codes[-1].grid.values(integers[-1]))
        stack.push_choice(k.reshape(-1), networks.values(z, self.no_features, c))
        stack.scramble(2 * number + 2, words)
        for each, found in zip(reversed(codes), reversed(integers), strict=True):
            each.push(stack, found)
        return bound

    def pop(self, stack: Stack, number: int, n: int, c: np.ndarray | None) -> np.ndarray:
        """The levels of a batch of n examples."""
        networks, words = self.networks, self.words_for(n)
        code = networks.prior(n, c, self.bits)
        codes: list[Any] = [code]
        integers = [code.pop(stack)]
        z = [code.grid.values(integers[0])]
        for level in range(1, len(networks.sizes)):
            p, _ = networks.level(level, z, self.no_features, c)
            codes.append(NormalCode(p, self.bits))
            integers.append(codes[-1].pop(stack))
            z.append(codes[-1].grid.values(integers[-1]))
        stack.scramble(2 * number + 2, words)
        k = stack.pop_choice(networks.values(z, self.no_features, c)).reshape(n, *self.vae.decoder.event_shape)
        q, features, _ = networks.posterior(self._scaled(k), c)
        posteriors: list[Normals] = [q]
        for level in range(1, len(networks.sizes)):
            posteriors.append(networks.level(level, z[:level], features, c)[1])
        grids: Sequence[Cells] = [each.grid for each in codes]
        for grid, posterior, found in zip(reversed(grids), reversed(posteriors), reversed(integers), strict=True):
            push_posterior(stack, grid, posterior, found)
        stack.scramble(2 * number + 1, words)
        return k

    def _scaled(self, k: np.ndarray) -> np.ndarray:
        return k.astype("float32") / np.float32(self.levels - 1)
