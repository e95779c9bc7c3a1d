"""What the test data cost by the ELBO, in bits for each value of an image."""

from pathlib import Path

from keras_vae_cli.commands import run_folder


def measure(run: Path) -> float:
    """-ELBO of the test images / (D log 2), D the values of an image: at least as many bits as -log2 p(x) / D.

    Raises:
        ValueError: of a model of continuous values: their density is no number of bits.
    """
    elbo = run_folder.read_report(run)["training"]["test_elbo"]
    bits = run_folder.load_model(run).decoder.likelihood.bits_per_dim(elbo)
    if bits is None:
        raise ValueError(f"{run} is of continuous values, and has no bits per dimension: promise test_elbo.")
    return float(bits)
