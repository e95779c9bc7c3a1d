"""Whether answers are sharper than interpolation."""

from pathlib import Path

from measures import psnr_over_gray


def measure(run: Path) -> float:
    """The energy of the gradients of single answers, as a multiple of that of bicubic interpolation; 500 pictures."""
    found = psnr_over_gray.answers(run)
    return found.sharpness / found.sharpness_of_interpolation
