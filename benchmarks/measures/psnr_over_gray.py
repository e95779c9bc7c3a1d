"""Whether colours that a model draws are nearer to the truth than none."""

from pathlib import Path

from keras_vae.evaluation import image_restoration
from keras_vae_cli.commands import run_folder


def measure(run: Path) -> float:
    """By how many decibels the PSNR of the mean of 64 answers is above that of the gray picture.

    Of the mean squared error of 500 test pictures, as `keras-vae evaluate` has it: `answers: gain`.
    """
    return answers(run).gain


def answers(run: Path) -> image_restoration.Answers:
    """What `image_restoration.answers` finds on the test pictures of a run."""
    _, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    return image_restoration.answers(vae, run_folder.some(splits.test, len(splits.test)).dataset(500))
