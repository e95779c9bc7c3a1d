"""Whether identifiers tell examples apart."""

from pathlib import Path

from keras_vae import evaluation
from keras_vae_cli.commands import run_folder


def measure(run: Path) -> float:
    """The share of the training examples whose identifier another one has, too."""
    _, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    return evaluation.semantic_ids(vae, splits.train.dataset(500)).collision_rate
