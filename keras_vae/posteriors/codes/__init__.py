"""Posteriors of codes: z is a grid of vectors, each named by one index or several."""

from keras_vae.posteriors.codes.composed import Grouped, Residual
from keras_vae.posteriors.codes.finite_scalar import FiniteScalar
from keras_vae.posteriors.codes.lookup_free import LookupFree
from keras_vae.posteriors.codes.quantizer import Coded, Quantizer
from keras_vae.posteriors.codes.vector_quantized import VectorQuantized

__all__ = ["Coded", "FiniteScalar", "Grouped", "LookupFree", "Quantizer", "Residual", "VectorQuantized"]
