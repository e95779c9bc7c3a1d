"""Whether the codes of one class lie together."""

from pathlib import Path

from sklearn.neighbors import KNeighborsClassifier

from keras_vae.evaluation.statistics import points
from keras_vae_cli.commands import run_folder

NEIGHBOURS = 15


def measure(run: Path) -> float:
    """The share, 0 to 1, of the test images whose class is that of most of the 15 nearest training images.

    Nearest in the latent space, by the means of q(z|x).
    """
    _, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    (z, y), (z_test, y_test) = (points(vae, split.dataset(1000)) for split in (splits.train, splits.test))
    return float(KNeighborsClassifier(NEIGHBOURS).fit(z, y).score(z_test, y_test))
