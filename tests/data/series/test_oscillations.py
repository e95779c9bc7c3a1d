"""The data set `oscillations`: the same always, and of the law that it says."""

import numpy as np
import pytest

from keras_vae import data
from keras_vae.data.series import oscillations

pytestmark = pytest.mark.usefixtures("own_cache")


def test_by_name_it_is_what_the_formula_makes():
    splits = data.read_splits("oscillations", validation_split=0.1)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [10_800, 1200, 1000]
    x, factors = oscillations.make(oscillations.TEST, 1)
    served = np.concatenate(list(splits.test.dataset(500)))
    np.testing.assert_array_equal(served, x)
    cycles, amplitude, damping, phase, lag = factors[3]
    t = np.arange(64) / 63
    angle = 2 * np.pi * cycles * t + phase
    pure = (amplitude * np.exp(-damping * t))[:, None] * np.sin(np.stack([angle, angle - lag], axis=1))
    np.testing.assert_allclose(oscillations.clean(factors)[3], pure, atol=1e-12)
    noise = x - oscillations.clean(factors)
    assert abs(noise.std() - oscillations.NOISE) < 3 * oscillations.NOISE / np.sqrt(2 * noise.size)
    # Numbers of the legacy generator of numpy, which are promised to stay.
    np.testing.assert_allclose(x[0, 0], [-1.04390, -0.86828], atol=1e-4)


def test_gaps_are_a_quarter_of_a_channel_in_a_share_of_the_channels():
    whole, holed = (data.read_all(name, missing=True) for name in ("oscillations", "oscillations/gaps=0.3"))
    whole, holed = (np.concatenate(list(part.dataset(1000))) for part in (whole, holed))
    gone = np.isnan(holed)
    counts = gone.sum(axis=1).ravel()
    assert set(counts) == {0, 16}
    assert abs((counts > 0).mean() - 0.3) < 0.02
    np.testing.assert_array_equal(holed[~gone], whole[~gone])
    steps = np.arange(64)[:, None]
    length = np.where(gone, steps, 0).max(axis=1) - np.where(gone, steps, 63).min(axis=1)
    assert set(length.ravel()[counts > 0]) == {15}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("oscillations/gaps=2", {}, "gaps must be a share"),
        ("oscillations/gaps=many", {}, "gaps must be a share"),
        ("oscillations/gaps=0.1", {}, r"missing=True \(in a config: data.missing\)"),
        ("oscillations/holes=0.1", {}, "has one option"),
        ("oscillations", {"resize": (8, 8)}, "are for images"),
        ("oscillations", {"levels": 4}, "is for images"),
        ("oscillations", {"labels": True}, "has no labels"),
    ],
)
def test_other_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        data.load(name, **options)
