"""Labels of examples that are scored: of files of every form, of which no more is read than they are."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from keras_vae_cli.commands.judgements.labels import labels_of
from keras_vae_cli.errors import ConfigError

TRUTH = ["0", "0", "1", "0", "1"]
TABLE = "a;state;b\n" + "".join(f"{k};{t};0,5\n" for k, t in enumerate(TRUTH))


def member_of(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_labels_of_a_file_of_its_own_in_every_form(tmp_path):
    numbers = np.array(TRUTH, int)
    (tmp_path / "semicolons.csv").write_text(TABLE.replace("state", "label"))
    (tmp_path / "single.csv").write_text("truth\n" + "\n".join(TRUTH), encoding="utf-8-sig")
    (tmp_path / "tabs.csv").write_text(TABLE.replace("state", "label").replace(";", "\t"))
    (tmp_path / "lines.txt").write_text("\n".join(TRUTH) + "\n\n")
    np.save(tmp_path / "numbers.npy", numbers)
    np.savez(tmp_path / "column.npz", x=np.zeros((5, 3)), labels=numbers[:, np.newaxis])
    np.savez(tmp_path / "bytes.npz", truth=np.array(TRUTH, "S1"))
    for path in tmp_path.iterdir():
        assert list(labels_of(None, 5, ["x.npy"], str(path))) == TRUTH, path.name


def test_a_line_of_a_text_file_is_one_label(tmp_path):
    (tmp_path / "words.txt").write_text("not normal\nnormal\n")
    assert list(labels_of(None, 2, [], str(tmp_path / "words.txt"))) == ["not normal", "normal"]


def test_a_column_or_array_of_the_data_themselves(tmp_path):
    (tmp_path / "x.csv").write_text(TABLE)
    np.savez(tmp_path / "x.npz", x=np.zeros((5, 3)), state=np.array(TRUTH))
    for name in ("x.csv", "x.npz"):
        assert list(labels_of(None, 5, [str(tmp_path / name)], "state")) == TRUTH
        with pytest.raises(ConfigError, match=r"nor such a column or array in the data: it has .*state"):
            labels_of(None, 5, [str(tmp_path / name)], "kind")
        with pytest.raises(ConfigError, match="--normal needs labels"):
            labels_of(None, 5, [str(tmp_path / name)])
    (tmp_path / "x.csv").write_text(TABLE.replace("state", "label"))
    assert list(labels_of(None, 5, [str(tmp_path / "x.csv")])) == TRUTH


def test_arrays_beside_the_labels_are_not_read(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**23, 1024, 1024)})
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", header.getvalue())  # claims 8 TB
        archive.writestr("labels.npy", member_of(np.array(TRUTH, int)))
    for paths, given in (([str(path)], None), ([str(path)], "labels"), (["y.npy"], str(path))):
        assert list(labels_of(None, 5, paths, given)) == TRUTH
    with pytest.raises(ConfigError, match=r"cannot be read for its labels: 'images' in .*(truncated|memory are free)"):
        labels_of(None, 5, [str(path)], "images")


def test_cells_beside_the_labels_take_no_memory(tmp_path):
    path = tmp_path / "wide.csv"
    row = ",".join(f"0.{k:06}" for k in range(1000))
    path.write_text(f"{row},label\n" + "".join(f"{row},{k % 2}\n" for k in range(300)))
    tracemalloc.start()
    try:
        assert len(labels_of(None, 300, [str(path)])) == 300
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**21  # all cells together take ten times as much


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("one_hot.npy", member_of(np.eye(5)), r"shape \(5, 5\): one label for each example"),
        ("latin.txt", "große\n".encode("latin-1"), "cannot be read for its labels"),
        ("latin.npy", member_of(np.array(["große".encode("latin-1")])), "not of UTF-8"),
        ("two.csv", b"a;b\n1;2\n", "of a, b none is called label"),
        ("ragged.csv", b"a;label\n1;2\n3\n", "not every row has as many cells as the first, 2"),
        ("short.csv", b"label\n1\n2\n", "there are 2 labels, and 5 examples"),
        ("torn.npz", b"PK", "damaged"),
    ],
)
def test_what_holds_no_labels_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{name}.*{words}") as caught:
        labels_of(None, 5, [], str(tmp_path / name))
    assert str(caught.value).count("cannot be read") <= 1
