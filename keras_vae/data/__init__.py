"""Data: from a name, a folder or arrays to batches of images in [0, 1]."""

from keras_vae.data.arrays import Arrays
from keras_vae.data.splits import Splits, load, read_all, read_splits

__all__ = ["Arrays", "Splits", "load", "read_all", "read_splits"]
