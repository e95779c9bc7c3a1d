"""A data set as a file of about minus its ELBO in bits, and back.

from keras_vae import compression

compressed = compression.compress(vae, images)      # float32 [N, *event_shape], on the levels of the likelihood
Path("images.kvae").write_bytes(compressed.content)
images = compression.decompress(vae, Path("images.kvae").read_bytes()).x
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_vae.arguments import check_count, check_flag
from keras_vae.compression import container
from keras_vae.compression.codec import Codec, batches, check_codable
from keras_vae.compression.container import Contents, Undecodable
from keras_vae.compression.networks import rows_of
from keras_vae.compression.stack import Stack, coder
from keras_vae.conditions import handed
from keras_vae.models.vae import VAE


@dataclasses.dataclass(frozen=True)
class Compressed:
    """What `compress` made.

    Attributes:
        content: of the file.
        num_examples: N.
        num_values: N D.
        sizes: bytes of the parts of the file: "examples", "conditions" and "names" beside them, and "header".
        initial_bits: of the code of the examples, those that the first batch popped before anything was pushed, which
            the others have for nothing.
        is_verified: whether the file was decoded and compared.
        refined_elbo: with posteriors that were fitted, their ELBO in nats per example; None without.
    """

    content: bytes
    num_examples: int
    num_values: int
    sizes: dict[str, int]
    initial_bits: int
    is_verified: bool
    refined_elbo: float | None = None

    @property
    def bits_per_dim(self) -> float:
        """Bits of the whole file for each value, but for conditions and names, which x is coded given or without."""
        return 8 * (self.sizes["examples"] + self.sizes["header"]) / self.num_values


@dataclasses.dataclass(frozen=True)
class Decompressed:
    """What `decompress` found.

    Attributes:
        x: float32 [N, *event_shape].
        condition: of each example, [N, ...]; None of a model without one.
        names: of the examples; None where there were none.
    """

    x: np.ndarray
    condition: np.ndarray | None
    names: tuple[str, ...] | None


def compress(
    vae: VAE,
    x: Any,
    condition: Any = None,
    names: Sequence[str] | None = None,
    refine_steps: int = 0,
    verify: bool = True,
    progress: Callable[[int], Any] = lambda count: None,
) -> Compressed:
    """Code examples by bits back: -log2 p(x|z) - log2 p(z) + log2 q(z|x) bits each, minus the ELBO on average.

    What decodes it is this very model, with the same package versions on a machine that computes the same: see
    `container.Contents`.

    Args:
        vae: a model of probabilities: of a Bernoulli, DiscretizedLogistic, DiscretizedLogisticMixture, Categorical or
            Binomial likelihood, a diagonal Gaussian posterior, and a Gaussian, mixture or RealNVP prior.
        x: data [N, *event_shape], on the levels of the likelihood.
        condition: of a conditional model, one for each example or one for all; they are kept in the file, too.
        names: of the examples, which are kept likewise.
        refine_steps: of the fit of a posterior to each example, from that of the encoder on; 100 take a nat and more
            off many models, and minutes of coding and decoding for 10,000 small images. 0 for the encoder's own.
        verify: whether to decode what was made and compare.
        progress: called with the number of examples that were coded, or decoded, since the last call.

    Raises:
        ImportError: without the package `constriction`.
        ValueError: for a model that has no code, naming the part and others that have one; for data that the model
            cannot take; where the file does not decode to the data.
    """
    coder()
    check_flag("verify", verify)
    check_count("refine_steps", refine_steps, at_least=0)
    check_codable(vae, refine_steps)
    x = np.asarray(x)
    vae.decoder.likelihood.check(x)
    if not len(x):
        raise ValueError("There are no examples to compress: the first axis is empty.")
    if names is not None and len(names) != len(x):
        raise ValueError(f"names are of {len(names)} examples, and there are {len(x)}.")
    given = handed.given(vae.condition, condition, len(x))
    c = None if given is None else np.asarray(given)
    levels = vae.decoder.likelihood.levels
    assert levels is not None
    k = np.rint(np.float64(x) * (levels - 1)).astype(np.uint16)
    probe = Codec(vae, rows_of(vae))
    codec = Codec(vae, rows_of(vae), probe.bits_for(x.astype("float32"), c), refine_steps)
    stack, bounds = Stack(codec.num_words), []
    for number, some in enumerate(batches(len(k), codec.networks.rows)):
        bounds.append(codec.push(stack, number, k[some], None if c is None else c[some]))
        progress(some.stop - some.start)
    words, untouched = stack.kept()
    if not untouched:
        raise ValueError(
            "The bits that the first examples begin with have come to an end: this model has no code here."
        )
    contents = Contents.of(vae, codec, k, words, untouched, c, names)
    content, sizes = contents.written()
    if verify:
        found = decompress(vae, content, progress)
        same = np.array_equal(np.rint(np.float64(found.x) * (levels - 1)).astype(np.uint16), k)
        if not same or (c is not None and not (c == found.condition).all()):
            raise ValueError("What was compressed does not decode to the same: nothing was kept.")
    initial = 32 * (codec.num_words - untouched)
    elbo = sum(bound or 0.0 for bound in bounds) / len(x) if refine_steps else None
    return Compressed(content, len(x), math.prod(x.shape), sizes, initial, verify, elbo)


def decompress(vae: VAE, content: bytes, progress: Callable[[int], Any] = lambda count: None) -> Decompressed:
    """The examples of what `compress` made by the same model, bit for bit.

    Args:
        vae: the model.
        content: of the file.
        progress: called with the number of examples that were decoded since the last call.

    Raises:
        ImportError: without the package `constriction`.
        Undecodable: a ValueError, for what is no such file, is cut off or changed, was made by another model, or does
            not decode here; nothing is given then.
    """
    coder()
    contents = container.read(content)
    check_codable(vae)
    contents.check_model(vae)
    codec = Codec(vae, contents.rows, contents.bits, contents.refine_steps)
    n, c = contents.num_examples, contents.condition
    k = np.zeros((n, *vae.decoder.event_shape), np.uint16)
    try:
        stack = Stack(codec.num_words, contents.words, contents.untouched)
        for number, some in reversed(list(enumerate(batches(n, contents.rows)))):
            k[some] = codec.pop(stack, number, some.stop - some.start, None if c is None else c[some])
            progress(some.stop - some.start)
        is_whole = stack.is_as_begun and container.checksum(k) == contents.checksum
    except ValueError as error:
        raise Undecodable(contents.does_not_decode()) from error
    if not is_whole:
        raise Undecodable(contents.does_not_decode())
    return Decompressed(k.astype("float32") / np.float32(codec.levels - 1), c, contents.names)
