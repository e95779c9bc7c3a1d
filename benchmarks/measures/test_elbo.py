"""The ELBO of the test data."""

from pathlib import Path

from keras_vae_cli.commands import run_folder


def measure(run: Path) -> float:
    """The mean ELBO of the test examples in nats, one draw of z for each, as `keras-vae train` prints it at its end.

    Averaged weights if the config has them, of the epoch that the validation data chose.
    """
    return float(run_folder.read_report(run)["training"]["test_elbo"])
