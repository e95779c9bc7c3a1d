"""Damped oscillations on two channels with noise: a data set whose law is known, made in a moment."""

from typing import Any

import numpy as np

from keras_vae.arguments import check_number
from keras_vae.data.examples import Examples, Source

NAME, VERSION = "oscillations", "1.0.0"
STEPS, CHANNELS = 64, 2
TRAIN, TEST = 12_000, 1000
# The standard deviation of the noise, on every value.
NOISE = 0.1
# Uniform between these: cycles in all steps, amplitude, by how many e-folds it falls, phase of the first channel, and
# how far the second lags behind it, both in radians.
FACTORS = {
    "cycles": (2.0, 4.0),
    "amplitude": (0.5, 1.5),
    "damping": (0.0, 2.0),
    "phase": (-np.pi, np.pi),
    "lag": (0.25 * np.pi, 0.75 * np.pi),
}
# Of a gap, in steps.
GAP = STEPS // 4


def load(name: str, missing: bool = False) -> Source:
    """The source, "oscillations", or "oscillations/gaps=0.3" where in so large a share of the channels a quarter of the
    steps, at a random place, is missing.

    12,000 series to train and 1,000 to test, float32 [64, 2], always the same.

    Raises:
        ValueError: for other options, and for gaps without `missing`.
    """
    _, _, options = name.partition("/")
    key, _, value = options.partition("=")
    if options and key != "gaps":
        raise ValueError(f"{NAME} has one option, {NAME}/gaps=0.3, not {options!r}.")
    try:
        share = check_number("gaps", float(value), at_least=0, at_most=1) if options else 0.0
    except ValueError:
        raise ValueError(f"gaps must be a share of the channels in [0, 1], not {value!r}.") from None
    if share > 0.0 and not missing:
        raise ValueError(f"{name!r} has values that are missing: missing=True (in a config: data.missing).")
    splits = {}
    for seed, (split, count) in enumerate((("train", TRAIN), ("test", TEST))):
        x, _ = make(count, seed)
        if share > 0.0:
            x = np.where(gaps(count, share, seed), np.float32(np.nan), x)
        splits[split] = Examples(x)
    return Source(splits, name=f"{NAME}/{VERSION}" + (f"/gaps={share:g}" if share > 0.0 else ""))


def make(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Series [count, 64, 2] in float32, and their factors [count, 5]."""
    # numpy promises that the legacy generator never changes.
    random: Any = np.random.RandomState(seed)
    low, high = np.array(list(FACTORS.values())).T
    factors = low + (high - low) * random.uniform(size=(count, len(FACTORS)))
    x = clean(factors) + NOISE * random.standard_normal((count, STEPS, CHANNELS))
    return x.astype("float32"), factors


def clean(factors: np.ndarray) -> np.ndarray:
    """Without noise: amplitude exp(-damping t) sin(2 pi cycles t + phase), and on the second channel phase - lag.

    t runs from 0 to 1.

    Args:
        factors: [..., 5], in the order of `FACTORS`.

    Returns:
        [..., 64, 2].
    """
    cycles, amplitude, damping, phase, lag = (part[..., np.newaxis] for part in np.moveaxis(factors, -1, 0))
    t = np.linspace(0.0, 1.0, STEPS)
    envelope, angle = amplitude * np.exp(-damping * t), 2.0 * np.pi * cycles * t + phase
    return np.stack([envelope * np.sin(angle), envelope * np.sin(angle - lag)], axis=-1)


def gaps(count: int, share: float, seed: int) -> np.ndarray:
    """Which values are missing, [count, 64, 2]: a quarter of the steps in each channel, in `share` of the channels."""
    random: Any = np.random.RandomState(1000 + seed)
    starts = random.randint(0, STEPS - GAP + 1, size=(count, 1, CHANNELS))
    has_gap = random.uniform(size=(count, 1, CHANNELS)) < share
    steps = np.arange(STEPS)[:, np.newaxis]
    return has_gap & (steps >= starts) & (steps < starts + GAP)
