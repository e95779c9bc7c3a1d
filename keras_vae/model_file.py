"""A model in a file that is always a whole one."""

from pathlib import Path

import keras
import numpy as np

from keras_vae.vae import VAE


def save(vae: VAE, path: Path) -> None:
    """Write a `.keras` file such that `path` always holds a whole one.

    Raises:
        OSError: if the disk refuses.
        ValueError: if the weights are not finite.
    """
    check_finite(vae)
    # One name for all processes: what a killed one left is written over.
    temporary = path.with_name(f".writing-{path.name}")
    try:
        vae.save(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_finite(vae: VAE) -> None:
    """See that a model is worth keeping.

    Raises:
        ValueError: if the weights are not finite.
    """
    bad = [
        v.path
        for v in vae.trainable_variables
        if not np.isfinite(keras.ops.convert_to_numpy(v).astype("float32")).all()
    ]
    if bad:
        raise ValueError(f"{len(bad)} weights hold NaN or infinity: {', '.join(bad[:3])}")
