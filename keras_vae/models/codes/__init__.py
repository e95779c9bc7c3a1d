"""Models whose discrete code is learned by a procedure of its own."""

from keras_vae.models.codes.smooth_code import SmoothCodeVAE

__all__ = ["SmoothCodeVAE"]
