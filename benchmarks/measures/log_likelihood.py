"""log p(x) of the test data, as `keras-vae evaluate` estimates it."""

from pathlib import Path
from typing import Any

from keras_vae_cli.commands import run_folder

SAMPLES = 5000


def measure(run: Path) -> float:
    """The mean of log p(x) over the test images in nats, by 5,000 importance samples for each.

    It is read in the report if `keras-vae evaluate RUN` has been there, and else estimated by that command, which adds
    it to the report: minutes for MNIST.
    """
    return float(_estimated(run)["mean"])


def _estimated(run: Path) -> dict[str, Any]:
    """The section of the report on log p(x)."""
    for _ in range(2):
        found = run_folder.read_report(run).get("test", {}).get("log_likelihood")
        if found is not None and found["num_samples"] >= SAMPLES:
            break
        run_folder.evaluate(run, num_samples=SAMPLES)
    return dict(found)
