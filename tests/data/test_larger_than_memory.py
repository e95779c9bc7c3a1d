"""Data on disk: the same batches as in memory, bit for bit, whatever the source and the options; what goes wrong."""

import os
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sources import picture, rows_of

import keras_vae as kv
from keras_vae import data, likelihoods, networks, posteriors, priors
from keras_vae.data.readers import folders
from keras_vae.data.storage import available, keeping, on_disk

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (60, 8, 8, 3), np.uint8), RNG.integers(0, 3, 60)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_VAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data"


def folder(home, sizes=((8, 8), (8, 8), (8, 12)), count=30):
    for number in range(count):
        picture(home / f"class {number % 3}" / f"{number:03}.png", size=sizes[number % len(sizes)])
    return home


def npy(home, values):
    home.mkdir(parents=True, exist_ok=True)
    np.save(home / "x.npy", values)
    return home / "x.npy"


def npz(home, save=np.savez, **arrays):
    home.mkdir(parents=True, exist_ok=True)
    save(home / "x.npz", **arrays)
    return home / "x.npz"


SPLIT = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[::-1][:20], "y_test": LABELS[:20]}
VECTORS = RNG.standard_normal((70, 5))
HOLES = np.where(RNG.random((70, 5)) < 0.2, np.nan, VECTORS).astype("float32")
NAMED = {"labels": True, "class_names": ["class 2", "class 0", "class 1"], "resize": (8, 8), "fit": "pad"}
SERIES = RNG.standard_normal((40, 6, 2))
CASES = {
    "labels": (folder, {"labels": True, "resize": (8, 8), "fit": "crop"}),
    "class names": (folder, NAMED),
    "own splits": (lambda home: npz(home, **SPLIT), {"labels": True}),
    "compressed": (lambda home: npz(home, np.savez_compressed, **SPLIT), {"labels": True, "validation_split": 0.2}),
    "dynamic": (lambda home: npy(home, IMAGES), {"binarize": "dynamic", "validation_split": 0.2}),
    "threshold": (lambda home: npy(home, IMAGES), {"binarize": "threshold"}),
    "gray": (lambda home: npy(home, IMAGES), {"condition": "gray", "validation_split": 0.1}),
    "dynamic gray": (lambda home: npy(home, IMAGES), {"condition": "gray", "binarize": "dynamic"}),
    "label": (lambda home: npz(home, images=IMAGES, labels=LABELS), {"condition": "label"}),
    "low resolution": (
        folder,
        {"condition": {"name": "low_resolution", "factor": 2}, "resize": (8, 8), "fit": "stretch", "mirror": True},
    ),
    "levels": (lambda home: npy(home, IMAGES), {"levels": 4, "mirror": True}),
    "resize": (lambda home: npy(home, IMAGES), {"resize": (5, 6), "fit": "pad"}),
    "floats": (lambda home: npy(home, IMAGES.astype("float64") / 255), {"resize": (16, 16)}),
    "16 bits": (lambda home: npy(home, IMAGES.astype(np.uint16) * 257), {}),
    "value range": (lambda home: npy(home, IMAGES.astype(np.int32) - 100), {"value_range": (-100, 155)}),
    "bools": (lambda home: npy(home, IMAGES[..., 0] > 99), {}),
    "vectors": (lambda home: npy(home, VECTORS), {}),
    "float32 vectors": (lambda home: npy(home, VECTORS.astype("float32")), {"validation_split": 0.3}),
    "holes": (lambda home: npy(home, HOLES), {"missing": True}),
    "series": (lambda home: npy(home, SERIES.astype("float32")), {"series": True}),
    "packed series": (
        lambda home: npz(home, x=np.where(SERIES > 2, np.nan, SERIES)),
        {"series": True, "missing": True},
    ),
    "columns first": (lambda home: npy(home, np.asfortranarray(VECTORS)), {}),
    "other bytes": (lambda home: npy(home, VECTORS.astype(">f8")), {}),
    "arrays": (lambda home: (IMAGES, LABELS), {"labels": True}),
    "a map": (lambda home: np.load(npy(home, IMAGES), mmap_mode="r"), {}),
    "by name": (lambda home: "digits", {"labels": True, "validation_split": 0.1}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_batches_are_those_of_memory_bit_for_bit(case, tmp_path):
    make, options = CASES[case]
    source = make(tmp_path / "source")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Whole numbers from")
        ram = data.read_splits(source, seed=3, memory="ram", **options)
        disk, again = (data.read_splits(source, seed=3, memory="disk", **options) for _ in range(2))
    assert ram.train.on_disk is None and ram.test.on_disk is None
    for splits in (disk, again):
        assert splits.class_names == ram.class_names and splits.condition == ram.condition
        assert splits.fingerprint == ram.fingerprint
    # Of training across the end of an epoch, from a step in its middle; of the others each row.
    same_batches(*(each.train.stream(7, seed=5, start_step=4).take(8) for each in (ram, again)))
    for one, other in ((ram.test, disk.test), (ram.validation, disk.validation)):
        if one is not None:
            assert other.on_disk[0] > 0
            assert (one.names, one.event_shape, len(one)) == (other.names, other.event_shape, len(other))
            same_batches(one.dataset(7), other.dataset(7))


def test_every_iteration_part_and_whole_is_that_of_memory(tmp_path):
    source = folder(tmp_path / "source", sizes=((8, 8),))
    ram, disk = (data.read_splits(source, memory=memory, labels=True, seed=1).train for memory in ("ram", "disk"))
    same_batches(*(each.dataset(7, seed=3, shuffle=True) for each in (ram, disk)), times=2)
    same_batches(*(each.subset([5, 2, 9, 2]).dataset(2, drop_remainder=True) for each in (ram, disk)))
    ram, disk = (data.read_all(source, memory=memory) for memory in ("ram", "disk"))
    assert ram.names == disk.names and disk.on_disk
    same_batches(ram.dataset(7), disk.dataset(7))
    split = npz(tmp_path, **SPLIT)
    wholes = [data.read_all(split, memory=memory, condition="gray") for memory in ("ram", "disk")]
    assert wholes[1].on_disk
    same_batches(*(whole.dataset(30) for whole in wholes))


def same_batches(one, other, times=1):
    assert one.element_spec == other.element_spec and one.cardinality() == other.cardinality()
    for _ in range(times):
        for x, y in zip(one.as_numpy_iterator(), other.as_numpy_iterator(), strict=True):
            for a, b in zip(tf.nest.flatten(x), tf.nest.flatten(y), strict=True):
                assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


def test_workers_get_shares_that_do_not_overlap(tmp_path):
    train = data.read_splits(folder(tmp_path / "source", sizes=((8, 8),)), memory="disk").train
    whole = rows_of(train.dataset(6, seed=1, shuffle=True))
    shares = [rows_of(train.dataset(6, seed=1, shuffle=True).shard(2, worker)) for worker in range(2)]
    together = np.concatenate(shares)
    assert len(together) == len(whole) == len({row.tobytes() for row in together})
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    served = iter(strategy.experimental_distribute_dataset(train.stream(6, seed=1)))
    for batch in train.stream(6, seed=1).take(9):
        assert np.array_equal(np.concatenate(strategy.experimental_local_results(next(served))), batch)


def test_memory_that_is_short_is_said_and_the_disk_taken(tmp_path, cache, monkeypatch):
    source = folder(tmp_path / "source", sizes=((8, 8),))
    monkeypatch.setattr(keeping, "available_memory", lambda: 27 * 192)
    with pytest.warns(UserWarning, match=r"MB of data are kept on disk, in .*cache.* memory are free.*data.memory"):
        splits = data.read_splits(source)
    assert splits.train.on_disk[1].startswith(str(cache)) and splits.test.on_disk
    monkeypatch.setattr(keeping, "available_memory", lambda: 10 * 27 * 192)
    assert data.read_splits(source).train.on_disk is None
    assert (
        data.read_splits(source, memory="disk", cache=tmp_path / "mine")
        .train.on_disk[1]
        .startswith(str(tmp_path / "mine"))
    )


def test_what_was_decoded_is_not_decoded_again(tmp_path, monkeypatch):
    source = folder(tmp_path / "source", sizes=((8, 8),))
    before = data.read_splits(source, labels=True, memory="disk")

    def never(path):
        raise AssertionError(path)

    with monkeypatch.context() as patch:
        patch.setattr(folders, "decode", never)
        patch.setattr(folders, "read_header", never)
        after = data.read_splits(source, labels=True, memory="disk")
        without = data.read_splits(source, memory="disk")
        same_batches(before.train.dataset(5), after.train.dataset(5))
        assert without.fingerprint["splits"] == before.fingerprint["splits"]
    seen = []
    read = folders.decode
    monkeypatch.setattr(folders, "decode", lambda path: seen.append(path.name) or read(path))
    picture(source / "class 2" / "020.png")  # another picture of that name
    changed = data.read_splits(source, labels=True, memory="disk")
    assert seen == [f"{number:03}.png" for number in (20, 23, 26, 29)]
    assert changed.fingerprint != before.fingerprint
    same_batches(changed.train.dataset(5), data.read_splits(source, labels=True, memory="ram").train.dataset(5))
    assert len(list((tmp_path / "cache" / "data").iterdir())) == 2  # headers and images


COPIED = ["own splits", "compressed", "gray", "levels", "resize", "floats", "value range", "bools", "vectors"]


@pytest.mark.parametrize("case", [*COPIED, "packed series", "columns first", "other bytes", "label"])
def test_what_was_copied_is_not_copied_again(case, tmp_path, cache, monkeypatch):
    make, options = CASES[case]
    source, written = make(tmp_path / "source"), []
    write = on_disk.OnDisk.__setitem__
    monkeypatch.setattr(on_disk.OnDisk, "__setitem__", lambda *args: written.append(1) or write(*args))

    def read():
        written.clear()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Whole numbers from")
            return data.read_splits(source, memory="disk", **options)

    before = read()
    assert written
    entries = sorted(cache.iterdir())
    after = read()
    assert not written
    assert after.fingerprint == before.fingerprint
    same_batches(before.train.dataset(7), after.train.dataset(7))
    # Another file, as its time says: its copies take the place of the old.
    status = source.stat()
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    read()
    assert written and sorted(cache.iterdir()) == entries


@pytest.mark.parametrize("memory", ["ram", "disk"])
def test_a_damaged_file_in_the_middle(memory, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_vae.data.readers.many_files.FILES_PER_TASK", 2)
    source = folder(tmp_path / "source", sizes=((8, 8),))
    bad = source / "class 1" / "016.png"
    content = bad.read_bytes()
    bad.write_bytes(content[:60])  # its header is whole
    with pytest.raises(ValueError, match=r"Cannot read the image file .*016.png"):
        data.read_splits(source, memory=memory)
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"Left out 1 unreadable of 30 .*016.png"):
            splits = data.read_splits(source, memory=memory, on_bad_file="skip")
        assert len(splits.train) + len(splits.test) == 29
        with pytest.raises(ValueError, match=r"Cannot read the image file .*016.png"):
            data.read_splits(source, memory=memory)
    seen, read = [], folders.decode
    monkeypatch.setattr(folders, "decode", lambda path: seen.append(path) or read(path))
    bad.unlink()
    splits = data.read_splits(source, memory=memory)
    assert len(splits.train) + len(splits.test) == 29
    # In the order of paths ten of class 0 and five of class 1 come before it.
    assert len(seen) == (14 if memory == "disk" else 29)


@pytest.mark.parametrize("memory", ["ram", "disk"])
def test_a_file_that_vanishes_while_others_are_read(memory, tmp_path, monkeypatch):
    source = folder(tmp_path / "source", sizes=((8, 8),))
    read = folders.decode
    gone = source / "class 2" / "029.png"

    def decode(path):
        gone.unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(folders, "decode", decode)
    with pytest.raises(ValueError, match=r"029.png.*No such file"):
        data.read_splits(source, memory=memory)
    picture(gone)
    with pytest.warns(UserWarning, match=r"Left out 1 unreadable of 30"):
        splits = data.read_splits(source, memory=memory, on_bad_file="skip")
    assert len(splits.train) + len(splits.test) == 29


def test_a_scan_says_how_far_it_is_and_leaves_a_clean_terminal_when_it_is_interrupted(tmp_path, capfd, monkeypatch):
    for name in ("PATIENCE", "ELSEWHERE"):
        monkeypatch.setattr(f"keras_vae.data.storage.counter.{name}", 0.0)
    monkeypatch.setattr("keras_vae.data.readers.many_files.FILES_PER_TASK", 2)
    source = folder(tmp_path / "source", sizes=((8, 8),))
    read, seen = folders.decode, []

    def decode(path):
        seen.append(path)
        if len(seen) == 20:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(folders, "decode", decode)
    with pytest.raises(KeyboardInterrupt):
        data.read_splits(source, memory="disk")
    said = capfd.readouterr().err
    assert "looking for images" in said and "looking at" in said and "of 30" in said and "cache" in said
    assert len(seen) < 30
    first = len(seen)
    data.read_splits(source, memory="disk")
    assert len(seen) - first < 30 - 8  # what was done before stays done
    assert "of 30" in capfd.readouterr().err


def test_an_array_in_a_file_is_used_where_it_is(tmp_path, cache):
    path = npy(tmp_path, IMAGES)
    splits = data.read_splits(path, memory="disk")
    assert splits.train.on_disk == (IMAGES.nbytes, str(tmp_path))
    assert sum(file.stat().st_size for file in cache.rglob("*")) < IMAGES.nbytes
    np.save(path, IMAGES[::-1])
    with pytest.raises(tf.errors.OpError, match=r"x.npy' was changed while its data were in use"):
        list(splits.train.dataset(5))
    assert data.read_splits(path, memory="disk").fingerprint != splits.fingerprint
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"x.npy' is truncated"):
        data.read_splits(path, memory="disk")


def test_fit_takes_a_map_of_a_file_as_it_takes_the_array(tmp_path):
    x = RNG.standard_normal((50, 5)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    histories = []
    for values in (x, np.load(tmp_path / "x.npy", mmap_mode="r")):
        keras.utils.set_random_seed(0)
        vae = kv.VAE(
            kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(2)),
            kv.Decoder(networks.mlp([8]), likelihoods.Normal((5,))),
            priors.StandardNormal(2),
        )
        vae.compile("adam")
        histories.append(vae.fit(values, epochs=2, batch_size=8, verbose=0).history["loss"])
    assert histories[0] == histories[1]


@pytest.mark.parametrize("options", [{"memory": "tape"}, {"memory": None}])
def test_other_places_are_refused(options):
    with pytest.raises(ValueError, match="memory"):
        data.load(IMAGES, **options)


def test_the_memory_of_a_machine_is_asked_for():
    assert keeping.available_memory is available.available_memory


def test_large_pictures_do_not_pile_up(tmp_path, monkeypatch):
    """No more of them are decoded ahead than there are workers."""
    for number in range(6):
        (tmp_path / "source").mkdir(exist_ok=True)
        Image.new("RGB", (64, 64)).save(tmp_path / "source" / f"{number}.png")
    sizes = []
    monkeypatch.setattr("keras_vae.data.readers.many_files.BYTES_PER_TASK", 64 * 64 * 3)
    from keras_vae.data.readers import many_files

    pool = many_files.ThreadPoolExecutor

    class Watched(pool):
        def map(self, work, tasks):
            sizes.extend(map(len, tasks))
            return super().map(work, tasks)

    monkeypatch.setattr(many_files, "ThreadPoolExecutor", Watched)
    data.read_splits(tmp_path / "source", memory="disk")
    assert sizes[-6:] == [1] * 6
