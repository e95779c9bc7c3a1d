"""Whether the components of a mixture prior are the classes of the data."""

from pathlib import Path

from keras_vae import evaluation
from keras_vae_cli.commands import run_folder


def measure(run: Path) -> float:
    """The share, 0 to 1, of the test images whose cluster stands for their class.

    The cluster is the likeliest component of the prior, argmax p(c|z), at the mean z of q(z|x). Which class a cluster
    stands for is said by the best one-to-one map, over the test images, as in Jiang et al. 2017.
    """
    _, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    return evaluation.cluster(vae, splits.test.dataset(1000)).accuracy
