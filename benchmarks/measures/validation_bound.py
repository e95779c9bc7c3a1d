"""What chose the model of a run: for the phases of a training that are not evaluated themselves."""

from pathlib import Path

from keras_vae_cli.commands import run_folder


def measure(run: Path) -> float:
    """The ELBO, or the bound of several samples if that is the objective, of the validation data in nats.

    The mean over the images, of the epoch in which it was best, with averaged weights if the config has them.
    """
    (value,) = (
        value
        for name, value in run_folder.read_report(run)["training"].items()
        if name in ("validation_elbo", "validation_bound")
    )
    return float(value)
