"""Whether the codes of a codebook are in use."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_vae.distributions.codes.codebooks import perplexity
from keras_vae.evaluation.statistics import gather
from keras_vae_cli.commands import run_folder
from measures import kid


def measure(run: Path) -> float:
    """exp of the entropy of the codes of 2,000 test images: as many codes, used equally, would have it."""
    _, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    indices = vae.encode(gather(splits.test.dataset(500), kid.MOST)[0]).indices
    counts = np.bincount(np.asarray(indices).ravel(), minlength=vae.encoder.posterior.num_codes)
    return float(perplexity(tf.constant(counts, tf.float32)))
