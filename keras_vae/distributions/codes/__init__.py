"""Distributions of vectors that are entries of a codebook, and the codebooks."""

from keras_vae.distributions.codes.chains import Codes, EqualCodes
from keras_vae.distributions.codes.codebooks import (
    Codebook,
    Levels,
    Listed,
    Products,
    Stages,
    indices_of,
    lookup,
    nearest,
    perplexity,
)
from keras_vae.distributions.codes.quantized import Quantized

__all__ = [
    "Codebook",
    "Codes",
    "EqualCodes",
    "Levels",
    "Listed",
    "Products",
    "Quantized",
    "Stages",
    "indices_of",
    "lookup",
    "nearest",
    "perplexity",
]
