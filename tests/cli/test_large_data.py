"""What is made of data, and into files, that are larger than memory: the same as of small ones, bit for bit."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from small_models import make_vae

from keras_vae import likelihoods, networks
from keras_vae.data.storage import on_disk
from keras_vae_cli.commands.products import gathered, given

RNG = np.random.default_rng(0)
IMAGES = np.where(RNG.random((600, 6, 4, 1)) < 0.1, np.nan, RNG.random((600, 6, 4, 1)))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A model of small pictures with holes, arrays of such, and a folder of pictures."""
    folder = tmp_path_factory.mktemp("large")
    vae = make_vae(networks.mlp, (8,), (6, 4, 1), 2, likelihoods.Normal((6, 4, 1)), missing=True)
    vae.build()
    vae.save(folder / "vae.keras")
    np.save(folder / "x.npy", IMAGES.astype("float32"))
    np.save(folder / "wide.npy", IMAGES)
    np.savez(folder / "x.npz", images=IMAGES)
    (folder / "pictures").mkdir()
    for number, image in enumerate(IMAGES[:300, ..., 0]):
        pixels = np.rint(255 * np.nan_to_num(image)).astype("uint8")
        Image.fromarray(pixels).save(folder / "pictures" / f"{number:03}.png")
    return folder


def content(path):
    """What a file or folder holds; of a folder that a command wrote, the pictures."""
    if path.is_dir():
        return {file.name: file.read_bytes() for file in path.glob("*.png")}
    if path.suffix != ".npz":
        return path.read_bytes()
    with np.load(path) as found:
        return {name: (found[name].dtype.str, found[name].shape, found[name].tobytes()) for name in found.files}


@pytest.mark.parametrize(
    ("verb", "source", "output", "options"),
    [
        ("encode", "x.npy", "made.npz", ()),
        ("reconstruct", "x.npy", "made.npy", ()),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("encode", "pictures", "made.csv", ()),
                ("encode", "wide.npy", "made.npy", ()),
                ("encode", "x.npz", "made.npz", ()),
                ("reconstruct", "pictures", "made", ()),
                ("impute", "x.npy", "made.npz", ("-n", "3")),
                ("impute", "wide.npy", "made.csv", ("-n", "3")),
                ("score", "x.npy", "made.csv", ("--samples", "4")),
                ("score", "pictures", "made.png", ("--samples", "4")),
            )
        ),
    ],
)
def test_large_data_have_the_results_of_small_ones(verb, source, output, options, home, tmp_path, ended, monkeypatch):
    monkeypatch.setenv("KERAS_VAE_CACHE", str(tmp_path / "cache"))
    for name in ("small", "large"):
        if name == "large":
            for module in (gathered, given):
                monkeypatch.setattr(module, "IN_MEMORY", 99)
            monkeypatch.setattr(on_disk, "PART", 2**10)
        code, out, err = ended(verb, home / "vae.keras", home / source, "-o", tmp_path / name / output, *options)
        assert code == 0, err
        assert ("of data are read from" in out) == (name == "large")
    assert content(tmp_path / "small" / output) == content(tmp_path / "large" / output)
    assert [path.name for path in (tmp_path / "large").iterdir()] == [output]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for the peak of memory")
def test_memory_does_not_grow_with_the_data(tmp_path):
    make_vae(networks.mlp, (8,), (2048,), 2, likelihoods.Normal((2048,))).save(tmp_path / "vae.keras")
    program = "import resource; from keras_vae_cli.main import main\ntry: main()\n"
    program += "finally: print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10)"
    peaks = []
    for count in (400, 60_000):  # 3 MB, and 0.5 GB
        rows = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "float32", (count, 2048))
        rows[::1000] = 1.0
        del rows
        command = [sys.executable, "-c", program, "reconstruct", tmp_path / "vae.keras", tmp_path / "x.npy"]
        ended = subprocess.run([*command, "-o", tmp_path / "made.npy", "--force"], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        peaks.append(int(ended.stdout.split()[-1]))
    assert np.load(tmp_path / "made.npy", mmap_mode="r").shape == (60_000, 2048)
    assert peaks[1] - peaks[0] < 400
