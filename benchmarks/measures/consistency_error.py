"""Whether answers averaged down are the small picture that is given."""

from pathlib import Path

from measures import psnr_over_gray


def measure(run: Path) -> float:
    """The largest difference of an average of an answer from the given pixel, in units of the range, of 500 x 64."""
    found = psnr_over_gray.answers(run).consistency
    assert found is not None
    return found
