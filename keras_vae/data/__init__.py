"""Data: from a name, a folder or arrays to batches of images in [0, 1]."""

from keras_vae.data.arrays import Arrays
from keras_vae.data.splits import Splits, load, read_all, read_splits
from keras_vae.data.tables.frames import frame, schema_of

__all__ = ["Arrays", "Splits", "frame", "load", "read_all", "read_splits", "schema_of"]
