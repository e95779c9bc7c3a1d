"""Whether all codes of all digits are in use."""

from pathlib import Path

from keras_vae import evaluation
from keras_vae_cli.commands import run_folder


def measure(run: Path) -> float:
    """The share of its codes that the training examples use, of the digit that uses the fewest."""
    _, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    return min(evaluation.semantic_ids(vae, splits.train.dataset(500)).usage)
