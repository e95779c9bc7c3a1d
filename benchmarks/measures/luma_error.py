"""Whether answers have the brightness that is given."""

from pathlib import Path

from measures import psnr_over_gray


def measure(run: Path) -> float:
    """The largest difference of the brightness of an answer from the given one, in units of the range, of 500 x 64."""
    found = psnr_over_gray.answers(run).consistency
    assert found is not None
    return found
