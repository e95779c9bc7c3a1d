"""Data: what is held out stays held out, whatever is added."""

import numpy as np
import pytest
from sources import picture, rows_of

from keras_vae import data
from keras_vae.data import held_out

pytestmark = pytest.mark.usefixtures("own_cache")
FRACTIONS = (0.01, 0.1, 0.25, 1 / 3, 0.5, 0.9)


def names(count: int) -> list[str]:
    return [f"cats/{k:05}.png" for k in range(count)]


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_files_that_are_added_move_no_other_into_the_test(fraction):
    for before, after in ((2, 3), (5, 6), (8, 48), (1000, 1001), (1000, 1040)):
        old = held_out.by_name(names(before), fraction, (0, 0))
        new = held_out.by_name(names(after), fraction, (0, 0))[:before]
        # Of a handful that would all be held out, one must stay.
        assert not (new & ~old).any() or before * (1 - fraction) < 1
        if fraction * before > 20:
            np.testing.assert_array_equal(new, old)
    shuffled = np.random.default_rng(0).permutation(names(1000))
    chosen = set(shuffled[held_out.by_name(shuffled, fraction, (0, 0))])
    assert chosen == {
        name for name, out in zip(names(1000), held_out.by_name(names(1000), fraction, (0, 0)), strict=True) if out
    }


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_rows_that_are_added_move_no_other_into_the_test(fraction):
    for seed in range(20):
        for before, after in ((2, 3), (3, 4), (5, 6), (8, 48), (100, 101), (1000, 1040)):
            old = held_out.by_place(before, fraction, (seed, 0))
            new = held_out.by_place(after, fraction, (seed, 0))[:before]
            assert not (new & ~old).any()
            assert 0 < old.sum() < before
            assert abs(old.sum() - before * fraction) <= 1


def test_about_the_fraction_of_the_files_is_held_out_and_never_none_or_all():
    counts = [held_out.by_name(names(1000), 0.1, (seed, 0)).sum() for seed in range(30)]
    assert np.mean(counts) == pytest.approx(100, abs=6) and np.std(counts) < 14
    assert len(set(counts)) > 5
    for count in range(2, 9):
        for fraction in FRACTIONS:
            assert 0 < held_out.by_name(names(count), fraction, (0, 0)).sum() < count


def test_the_hash_is_of_the_name_on_every_machine():
    """Fixed here once: what was held out when a model was trained must be held out when it is evaluated."""
    chosen = held_out.by_name([*names(20), "Ünïcode/\udcff.png"], 0.3, (0, 0))
    assert np.flatnonzero(chosen).tolist() == [0, 4, 6, 9, 13, 15, 16, 20]
    assert np.flatnonzero(held_out.by_place(40, 0.1, (0, 0))).tolist() == [6, 12, 20, 30]


@pytest.mark.parametrize("kind", ["flat", "classes", "wrapped"])
def test_a_folder_that_grows(tmp_path, kind):
    def write(numbers):
        for k in numbers:
            folder = {"flat": ".", "classes": "ab"[k % 2], "wrapped": f"in/in/{'ab'[k % 2]}"}[kind]
            picture(tmp_path / folder / f"{k:03}.png", mode="L", size=(1, 1), color=k)

    def levels():
        splits = data.read_splits(tmp_path, validation_split=0.2, test_split=0.2)
        parts = (splits.train, splits.validation, splits.test)
        return [set(np.rint(rows_of(part.dataset(99)).ravel() * 255).astype(int)) for part in parts]

    write(range(200, 255))
    train, validation, test = levels()
    assert len(train) + len(validation) + len(test) == 55 and min(len(validation), len(test)) > 3
    write(range(160, 200))
    grown = levels()
    assert len(train | validation | test | set().union(*grown)) == 95
    assert all(old <= new for old, new in zip((train, validation, test), grown, strict=True))
    # The folder may lie elsewhere, or inside another one.
    (tmp_path / "moved").mkdir()
    for path in [path for path in tmp_path.iterdir() if path.name != "moved"]:
        path.rename(tmp_path / "moved" / path.name)
    if kind != "flat":
        assert levels() == grown


def test_arrays_that_grow(tmp_path):
    images = np.arange(255, dtype=np.uint8).reshape(-1, 1, 1)[::-1]

    def rows(count):
        np.save(tmp_path / "all.npy", images[:count])
        splits = data.read_splits(tmp_path / "all.npy", validation_split=0.2)
        return [
            set(np.rint(rows_of(part.dataset(99)).ravel() * 255).astype(int))
            for part in (splits.train, splits.validation, splits.test)
        ]

    for old, new in zip(rows(100), rows(140), strict=True):
        assert old <= new
