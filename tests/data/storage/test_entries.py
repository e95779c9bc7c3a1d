"""What is kept in the cache: whole, for as long as it is of the same items; and work that goes on where it stopped."""

import contextlib
import os
import resource
import threading
import time

import numpy as np
import pytest

from keras_vae import files
from keras_vae.data.storage import entries, keeping
from keras_vae.data.storage.entries import entry, key_of

KEYS = np.arange(10, dtype=np.uint64)


@pytest.fixture(autouse=True)
def on_disk(tmp_path):
    with keeping.keeping("disk", tmp_path):
        yield


def made(keys=KEYS, until=None, identity=("numbers",)):
    """Which items were made, and the entry; an error before item `until`."""
    fresh = []
    with entry(identity, lambda: keys, len(keys), (2,), np.int32) as found:
        squares = found.column("square", np.int64)
        found.notes.setdefault("seen", [])
        for number in range(found.done, len(keys)):
            if number == until:
                raise InterruptedError
            found.rows[number] = [keys[number], number]
            squares[number] = keys[number] ** np.uint64(2)
            found.notes["seen"].append(number)
            fresh.append(number)
            found.reached(number + 1)
    assert np.array_equal(found.rows[:], np.stack([keys, np.arange(len(keys))], axis=1))
    assert np.array_equal(found.columns["square"], keys**2)
    return fresh, found


def interrupted(**options):
    with contextlib.suppress(InterruptedError):
        made(**options)


def test_what_is_whole_is_not_made_again():
    assert made()[0] == list(range(10))
    fresh, found = made()
    assert fresh == [] and found.notes == {"seen": list(range(10))}
    assert made(identity=("others",))[0] == list(range(10))


def test_work_goes_on_where_it_was_interrupted():
    interrupted(until=4)
    interrupted(until=7)
    assert made()[0] == [7, 8, 9]


@pytest.mark.parametrize("until", [None, 6])
@pytest.mark.parametrize(
    ("keys", "fresh"),
    [
        ([0, 1, 2, 3, 4, 99, 6, 7, 8, 9], 5),  # another item
        ([0, 1, 3, 4, 5, 6, 7, 8, 9], 2),  # one that is gone
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 10),  # more
        ([7, 8, 9], 0),
    ],
)
def test_only_the_items_from_the_first_other_one_on_are_made_again(keys, fresh, until):
    interrupted(until=until)
    keys = np.array(keys, np.uint64)
    assert made(keys=keys)[0] == list(range(min(fresh, 10 if until is None else until), len(keys)))
    assert made(keys=keys)[0] == []


def test_whoever_reads_what_is_whole_keeps_it_when_it_is_made_anew():
    _, before = made()
    made(keys=KEYS + np.uint64(100))
    assert np.array_equal(before.rows[:][:, 0], KEYS)


@pytest.mark.parametrize(
    "damage", ["rows are cut off", "rows are gone", "rows are others", "state is cut off", "state is no archive"]
)
def test_what_is_damaged_is_made_again(damage):
    place = made()[1].place
    path = place / (entries.ROWS if damage.startswith("rows") else entries.STATE)
    content = path.read_bytes()
    if damage.endswith("gone"):
        path.unlink()
    elif damage.endswith("others"):
        path.write_bytes(bytes(len(content)))
    else:
        path.write_bytes(b"nothing" if damage.endswith("archive") else content[: len(content) // 2])
    assert made()[0] != [] and made()[0] == []


@pytest.mark.parametrize("again", [False, True])
def test_what_is_whole_may_not_change_under_whoever_reads_it(again):
    _, found = made()
    found = made()[1] if again else found
    (found.place / entries.ROWS).write_bytes(bytes(80))
    with pytest.raises(OSError, match=r"rows.bin' was changed while its data were in use: start again"):
        found.rows[2]


def test_another_process_is_waited_for(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("keras_vae.data.storage.counter.PATIENCE", 0.0)
    interrupted(until=4)
    (place,) = tmp_path.iterdir()
    with contextlib.ExitStack() as stack:
        stack.enter_context(files.locked(place))
        waiting = threading.Timer(0.5, stack.pop_all().close)
        waiting.start()
        started = time.monotonic()
        assert made()[0] == [4, 5, 6, 7, 8, 9]
        assert time.monotonic() - started > 0.3
        waiting.join()
    assert "waiting for another process" in capfd.readouterr().err


def test_a_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    full = type("usage", (), {"free": keeping.RESERVE + 79})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: full)
    for attempt in (made, lambda: keeping.empty((10, 8), np.uint8, "Those"), lambda: made(until=3)):
        with pytest.raises(OSError, match=r"0.1 MB of data .* cannot be written to \(No space left.*make room.*cache="):
            attempt()
    full.free += 1
    assert len(made()[0]) == 10


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    keeping.current().folder = tmp_path / "file" / "cache"
    with pytest.raises(OSError, match=r"file.cache cannot be written to .*data.cache"):
        made()


def test_what_nobody_has_used_for_a_month_is_removed():
    old, new = made(identity=("old",))[1].place, made(identity=("new",))[1].place
    then = time.time() - entries.UNUSED - 9
    for folder in (old, new):
        os.utime(folder / entries.STATE, (then, then))
    assert made(identity=("new",))[0] == []  # it is used, and so kept
    made(identity=("third",))
    assert not old.exists() and new.exists()


def test_keys_tell_items_apart():
    assert key_of("a", 1, 2) == key_of("a", 1, 2)
    assert len({key_of("a", 1, 2), key_of("a", 12), key_of("a1", 2), key_of("a", 2, 1), key_of("\udcff")}) == 5


def test_killed_in_the_middle_it_goes_on_from_what_was_on_the_disk(monkeypatch):
    monkeypatch.setattr(entries, "EVERY", 0.0)
    monkeypatch.setattr(entries, "AT_MOST", 1e9)
    with (
        monkeypatch.context() as killed,
        contextlib.suppress(InterruptedError),
        entry(("numbers",), lambda: KEYS, 10, (2,), np.int32) as found,
    ):
        for number in range(10):
            found.rows[number] = [number, number]
            found.column("square", np.int64)[number] = number**2
            found.notes["seen"] = list(range(number + 1))
            found.reached(number + 1)
            if number == 5:  # from here on nothing gets to the disk
                killed.setattr(entries.Entry, "_write", lambda *_: None)
            if number == 7:
                raise InterruptedError
    assert made()[0] == [6, 7, 8, 9]


def test_a_limit_of_the_system_on_files_is_said(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        with pytest.raises(OSError, match=r"2.0 MB of data are to be kept on disk.*File too large.*data.cache"):
            keeping.empty((2**21, 1), np.uint8, "Those")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
