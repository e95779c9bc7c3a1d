"""The stack of an entropy coder: what is pushed is popped again, and a pop of random bits is a draw.

Asymmetric numeral systems (Duda 2009) in the coder of the package `constriction`. A stack begins with words of a random
generator, which are known to both sides, so that there is something to pop: what of them was never touched is not kept.
"""

from typing import Any

import numpy as np

# Of probabilities, as `constriction` has them: 2^-24 is the least.
PRECISION = 24
# Least deviation in steps: of a narrower variable one step has all of the mass already.
NARROWEST = 1e-3
# A row of probabilities takes memory: so many numbers are handed over at once.
AT_ONCE = 2**22


def coder() -> Any:
    """The package `constriction`.

    Raises:
        ImportError: saying how it is installed.
    """
    try:
        import constriction
    except ImportError as error:
        raise ImportError(
            "Compression needs the package constriction, an entropy coder: pip install 'keras-vae[compress]', or "
            "pip install constriction."
        ) from error
    return constriction


class Stack:
    """A stack of symbols.

    Args:
        num_words: 32-bit words of the generator at the bottom; more than are popped below what was pushed.
        words: what `kept` gave; None for a new stack.
        untouched: how many of the words of the generator lie below them.
    """

    def __init__(self, num_words: int, words: np.ndarray | None = None, untouched: int = 0) -> None:
        stream = coder().stream
        self.models = stream.model
        # The coder takes no zero at the end.
        self.beginning = np.maximum(_random_words(0, num_words), 1).astype(np.uint32)
        held = self.beginning if words is None else np.concatenate([self.beginning[:untouched], words])
        self.coder = stream.stack.AnsCoder(np.ascontiguousarray(held, np.uint32))

    def kept(self) -> tuple[np.ndarray, int]:
        """The words that are not of the generator, uint32, and how many below them are."""
        words = np.asarray(self.coder.get_compressed(), np.uint32)
        size = min(len(words), len(self.beginning))
        differs = np.flatnonzero(words[:size] != self.beginning[:size])
        untouched = int(differs[0]) if len(differs) else size
        return words[untouched:], untouched

    def scramble(self, key: int, num_words: int) -> None:
        """Make random bits of the upper words, or of these what they were: an exclusive or with those of a generator.

        What was pushed last lies in the lowest bits, and the next pop would draw the place of that in its distribution:
        no random one where latents are pushed that are not distributed as their prior.

        Args:
            key: of the generator, another one each time.
            num_words: how many words at most; those with which the stack begins are random as they are.
        """
        words = np.array(self.coder.get_compressed(), np.uint32)
        # The last word is the highest of the state: it is popped at last, and must not become zero.
        some = slice(max(len(self.beginning), len(words) - 1 - num_words), max(len(words) - 1, 0))
        size = max(some.stop - some.start, 0)
        if size:
            words[some] ^= _random_words(key, size)
            self.coder = coder().stream.stack.AnsCoder(words)

    @property
    def is_as_begun(self) -> bool:
        """Whether everything that was pushed was popped, and the other way round."""
        return np.array_equal(self.coder.get_compressed(), self.beginning)

    def push_uniform(self, symbols: np.ndarray, sizes: np.ndarray) -> None:
        """Symbols 0 ... size - 1 of equal probabilities, each with a size of its own below 2^24."""
        some = sizes > 1
        if some.any():
            self.coder.encode_reverse(
                symbols[some].astype(np.int32), self.models.Uniform(), sizes[some].astype(np.int32)
            )

    def pop_uniform(self, sizes: np.ndarray) -> np.ndarray:
        """Int64 of the shape of `sizes`, which is flat."""
        found, some = np.zeros(sizes.shape, np.int64), sizes > 1
        if some.any():
            found[some] = self.coder.decode(self.models.Uniform(), sizes[some].astype(np.int32))
        return found

    def push_choice(self, symbols: np.ndarray, probabilities: np.ndarray) -> None:
        """Symbols [n] with probabilities [n, S], which are scaled to a sum of 1 and kept above 0."""
        _check_finite(probabilities)
        if probabilities.shape[1] == 2:
            model = self.models.Bernoulli(perfect=False)
            self.coder.encode_reverse(symbols.astype(np.int32), model, _second(probabilities))
            return
        model = self.models.Categorical(perfect=False)
        # The last block first: they are popped the other way round.
        for rows in reversed(_blocks(probabilities.shape)):
            self.coder.encode_reverse(symbols[rows].astype(np.int32), model, np.float32(probabilities[rows]))

    def pop_choice(self, probabilities: np.ndarray) -> np.ndarray:
        """Int64 [n]."""
        _check_finite(probabilities)
        if probabilities.shape[1] == 2:
            model = self.models.Bernoulli(perfect=False)
            return np.asarray(self.coder.decode(model, _second(probabilities)), np.int64)
        model = self.models.Categorical(perfect=False)
        parts = [self.coder.decode(model, np.float32(probabilities[rows])) for rows in _blocks(probabilities.shape)]
        return np.concatenate([np.asarray(part, np.int64) for part in parts])

    def push_normal(self, k: np.ndarray, mean: np.ndarray, std: np.ndarray, steps: int, reach: int) -> None:
        """Integers of the normal distribution with a mean and deviation in units of them, all of them flat.

        The bell is a histogram whose bars are a power of two wide, of which a deviation has from `steps` / 2 to
        `steps`: first the bar, by the exact mass of it, then the place within. So the least probability that the coder
        gives to all symbols, 2^-24, is given to few.

        Args:
            k: int64.
            mean: of any size.
            std: above 0; below `steps` bars are single integers.
            steps: bars within a deviation.
            reach: deviations on both sides that can be coded.

        Raises:
            ValueError: for an integer that is further from the mean.
        """
        start, shift, centre, scale = _bars(mean, std, steps)
        bar = (k - start) >> shift
        if np.any(np.abs(bar) > steps * reach):
            raise ValueError(f"A latent lies more than {reach} standard deviations from its mean: it cannot be coded.")
        self.push_uniform((k - start) & ((1 << shift) - 1), 1 << shift)
        self.coder.encode_reverse(bar.astype(np.int32), self._bell(steps, reach), centre, scale)

    def pop_normal(self, mean: np.ndarray, std: np.ndarray, steps: int, reach: int) -> np.ndarray:
        """Int64, as `push_normal` takes them."""
        start, shift, centre, scale = _bars(mean, std, steps)
        bar = np.asarray(self.coder.decode(self._bell(steps, reach), centre, scale), np.int64)
        return start + (bar << shift) + self.pop_uniform(1 << shift)

    def _bell(self, steps: int, reach: int) -> Any:
        return self.models.QuantizedGaussian(-steps * reach, steps * reach)


def _random_words(key: int, size: int) -> np.ndarray:
    # Raw numbers of a generator are the same in all versions of NumPy.
    raw = np.random.PCG64(key).random_raw((size + 1) // 2)
    words: np.ndarray = raw.astype("<u8").view("<u4")[:size].astype(np.uint32)
    return words


def _bars(mean: np.ndarray, std: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Where bar 0 begins, log2 of the width of a bar, and mean and deviation in bars."""
    _check_finite(mean)
    _check_finite(std)
    mean, std = mean.astype("float64"), std.astype("float64")
    shift = np.maximum(np.frexp(std / steps)[1], 0).astype(np.int64)
    start, width = np.rint(mean).astype(np.int64), 1 << shift
    centre = (mean - start - 0.5 * (width - 1)) / width
    return start, shift, centre, np.maximum(std / width, NARROWEST)


def _second(probabilities: np.ndarray) -> np.ndarray:
    both = probabilities.astype("float64")
    share: np.ndarray = both[:, 1] / both.sum(axis=1)
    return share


def _blocks(shape: tuple[int, ...]) -> list[slice]:
    rows = max(1, AT_ONCE // shape[1])
    return [slice(first, first + rows) for first in range(0, shape[0], rows)]


def _check_finite(values: np.ndarray) -> None:
    # The coder itself would take them, or end the process.
    if not np.isfinite(values).all():
        raise ValueError("The model gives numbers that are not finite, of which there is no code.")
