"""Whether a discrete code is the class, which nobody told it."""

from pathlib import Path

from keras_vae.disentanglement import unsupervised_accuracy, with_indices
from keras_vae.evaluation.statistics import points
from keras_vae_cli.commands import run_folder


def measure(run: Path) -> float:
    """The accuracy, 0 to 1, of the code of the test images by the best one-to-one map of its classes to theirs.

    Of sprites, the class is the shape.
    """
    _, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    z, labels = points(vae, splits.test.dataset(1000))
    # Labels of sprites are all of their factors, the first of them the shape.
    classes = labels if labels.ndim == 1 else labels[:, 0]
    return unsupervised_accuracy(with_indices(z, vae.prior.blocks)[:, -1], classes)
