"""Arrays [N, steps, channels]: which are series is said, and what cannot be one is refused."""

import numpy as np
import pytest
from sources import rows_of

from keras_vae import data

pytestmark = pytest.mark.usefixtures("own_cache")
SERIES = np.random.default_rng(0).normal(20.0, 3.0, (12, 7, 3))


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "uint8", "bool"])
@pytest.mark.parametrize("name", ["memory", "x.npy", "x.npz"])
def test_series_keep_their_values(dtype, name, tmp_path):
    x = (SERIES if dtype != "bool" else SERIES > 20.0).astype(dtype)
    source = x
    if name != "memory":
        source = tmp_path / name
        np.save(source, x) if name == "x.npy" else np.savez(source, x=x)
    found = rows_of(data.load(source, series=True, test_split=0))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, x.astype("float32"))


def test_without_a_word_three_axes_are_gray_images():
    x = np.random.default_rng(0).random((12, 7, 3))
    assert data.read_all(x).event_shape == (7, 3, 1)
    assert data.read_all(x, series=True).event_shape == (7, 3)
    with pytest.raises(ValueError, match=r"series=True \(in a config: data.series\)"):
        data.read_all(SERIES)


def test_splits_labels_and_gaps_are_those_of_other_arrays():
    x = SERIES.copy()
    x[:, 2:4, 1] = np.nan
    train, test = data.load({"x_train": x, "y_train": np.arange(12)}, 2, series=True, missing=True, labels=True)
    rows = [(values, label) for batch in (*train, *test) for values, label in zip(*batch, strict=True)]
    assert len(rows) == 12
    for values, label in rows:
        np.testing.assert_array_equal(values, x[int(label)].astype("float32"))


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (SERIES[..., 0], {}, r"shape \(12, 7\); .* x\[\.\.\., None\], of shape \(12, 7, 1\)"),
        (SERIES[..., None], {}, r"series are \[N, steps, channels\]"),
        (SERIES[:, :0], {}, "with none of them 0"),
        (np.where(SERIES > 25.0, np.nan, SERIES), {}, r"missing=True \(in a config: data.missing\)"),
        (np.array([np.zeros(3), np.zeros(4)], object), {}, "fill them up with NaN to one length"),
        ({"x_train": [[[1.0], [2.0]], [[3.0]]]}, {}, "Lists of different lengths are no array"),
        (SERIES, {"resize": (4, 4)}, "is for images"),
        (SERIES, {"levels": 4}, "is for images"),
        ("digits", {}, r"series=True is of arrays \[N, steps, channels\]"),
        (["a.png"], {}, r"series=True is of arrays"),
        (SERIES, {"series": 1}, "series must be True or False"),
    ],
)
def test_what_is_no_series_is_refused(source, options, message):
    with pytest.raises(ValueError, match=message):
        data.load(source, **{"series": True, "test_split": 0, **options})


def test_tables_and_folders_hold_no_series(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n3,4\n")
    for source in (tmp_path, tmp_path / "table.csv"):
        with pytest.raises(ValueError, match="rows of a table are vectors"):
            data.load(source, series=True)
    with pytest.raises(FileNotFoundError):
        data.load(tmp_path / "none.npy", series=True)
