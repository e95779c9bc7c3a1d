"""Whether a nearest neighbour tells drawn from real examples."""

from pathlib import Path

from keras_vae_cli.commands import run_folder


def measure(run: Path) -> float:
    """The share, 0 to 1, of test and drawn examples whose nearest neighbour is of their own kind: 0.5 is chance.

    `evaluation.nearest_neighbours` of up to 600 test examples and as many samples, means of p(x|z), by the report of
    the training.
    """
    return float(run_folder.read_report(run)["training"]["samples"]["accuracy"])
