"""history.csv: what is written of other names, and what is read of a file that was damaged or edited."""

import contextlib
import csv

import numpy as np
import pytest

from keras_vae import pictures
from keras_vae_cli.commands import history

HEADER = b"epoch,elbo,val_elbo\n"


def written(path, rows):
    file = history.HistoryFile(path)
    file.on_train_begin()
    for epoch, logs in rows:
        file.on_epoch_end(epoch, logs)


def test_names_that_were_not_logged_before_are_columns_of_their_own(tmp_path):
    path = tmp_path / "history.csv"
    written(path, [(0, {"loss": 3.0, "elbo": -3.0}), (1, {"loss": np.float32(2.5), "elbo": -2.5})])
    written(path, [(2, {"elbo": -2.0, "learning_rate": 0.1, "kl": 1.0}), (3, {"kl": 0.5})])
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["elbo"] for row in rows] == ["-3.0", "-2.5", "-2.0", ""]
    assert [row["loss"] for row in rows] == ["3.0", "2.5", "", ""]
    assert [row["kl"] for row in rows] == ["", "", "1.0", "0.5"]
    assert {len(row) for row in rows} == {5} and None not in rows[0]
    np.testing.assert_array_equal(history.columns(path, print)["kl"], [np.nan, np.nan, 1.0, 0.5])


DAMAGED = {
    "cut": (HEADER + b"0,-1,-2\n1,-1,-", [0], 1),
    "cut in the middle": (HEADER + b"0,-1,-2\n1,-\n2,-1,-2\n", [0, 2], 1),
    "empty cells": (HEADER + b"0,-1,\n1,,-2\n2,,\n", [0, 1, 2], 0),
    "no epoch": (HEADER + b"0,-1,-2\n,-1,-2\n", [0], 1),
    "blank lines": (HEADER + b"\n0,-1,-2\n\n\n1,-1,-2\n", [0, 1], 0),
    "bytes": (HEADER + b"0,-1,-2\n\xff\xfe\x00\n1,-1,-2\n2,\xe9,-2\n", [0, 1], 2),
    "zeros": (HEADER + b"0,-1,-2\n" + bytes(50) + b"\n", [0], 1),
    "words": (HEADER + b"0,-1,-2\n1,good,-2\n2.5,-1,-2\n", [0], 2),
    "not finite": (HEADER + b"0,nan,-inf\n1,NA,-2\n", [0, 1], 0),
    "semicolons": (b"\xef\xbb\xbfepoch;elbo;val_elbo\r\n0;-1,5;-2\r\n1;-1,25;-2\r\n", [0, 1], 0),
    "quotes": (HEADER + b'0,-1,-2\n"1,-1,-2\n2,-1,-2\n', [0, 2], 1),
    "no header": (b"0,-1,-2\n1,-1,-2\n", [], 2),
    "another file": (bytes(range(256)) * 3, [], 6),
    "nothing": (b"", [], 0),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_rows_are_set_aside_and_nothing_is_lost(tmp_path, name):
    content, epochs, damaged = DAMAGED[name]
    path, aside, lines = tmp_path / "history.csv", tmp_path / "history.csv.damaged", []
    path.write_bytes(content)
    read = history.columns(path, lines.append)
    assert [int(epoch) for epoch in read["epoch"]] == epochs if epochs else read is None
    assert len(lines) == bool(damaged) and path.read_bytes() == content
    with contextlib.suppress(ValueError):  # of no table at all
        pictures.read_history(path)
    history.trim(path, 5, lines.append)
    assert (damaged > 0) == aside.exists()
    if damaged:
        assert all(line in content for line in aside.read_bytes().splitlines())
        assert str(aside) in lines[-1]
    assert [int(row[0]) for row in history.read(path).rows] == epochs and not history.read(path).damaged
    written(path, [(5, {"elbo": -1.0, "new": 2.0})])
    assert [int(row[0]) for row in history.read(path).rows] == [*epochs, 5]
    if name == "semicolons":
        np.testing.assert_array_equal(read["elbo"], [-1.5, -1.25])


def test_epochs_that_are_trained_again_lose_their_rows(tmp_path):
    path = tmp_path / "history.csv"
    path.write_bytes(HEADER + b"0,-1,-2\n1,-1,-2\n2,-1,-")
    history.trim(path, 1, pytest.fail)
    assert path.read_bytes().splitlines() == [HEADER.strip(), b"0,-1,-2"]
    history.trim(tmp_path / "none.csv", 1, pytest.fail)
    assert history.columns(tmp_path / "none.csv", pytest.fail) is None
