"""Data on disk from the command line: the run in memory, bit for bit, and what is said."""

import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from sources import picture

import keras_vae  # noqa: F401 - load_model finds the classes of imported packages only
from keras_vae.data.storage import keeping
from keras_vae.data.storage.on_disk import OnDisk

MODEL = [
    *["model.latent_dim=2", "model.encoder={name: mlp, units: [8]}", "model.decoder={name: mlp, units: [8]}"],
    *["model.posterior=MultivariateNormalDiag", "model.prior=StandardNormal", "model.objective=ELBO"],
    *["model.likelihood=Bernoulli", "data.name=null", "data.binarize=dynamic", "data.batch_size=8", "train.epochs=2"],
    *["data.condition=label", "export.formats=[]"],
]


@pytest.fixture
def pictures(tmp_path):
    for number in range(40):
        picture(tmp_path / "pictures" / f"class {number % 2}" / f"{number}.png", mode="L")
    return tmp_path / "pictures"


@pytest.mark.slow
def test_a_run_on_disk_is_the_run_in_memory(pictures, tmp_path, ended, monkeypatch):
    common = ["train", "--set", *MODEL, f"data.path={pictures}"]
    on_disk = [f"data.cache={tmp_path / 'cache'}", "data.memory=disk", "--run", tmp_path / "disk"]
    code, said, _ = ended(*common, *on_disk)
    assert code == 0 and f"of shape 8x8x1, read from {tmp_path / 'cache'}" in said
    code, said, _ = ended(*common, "--run", tmp_path / "ram")
    assert code == 0 and "read from" not in said
    runs = [tmp_path / "disk", tmp_path / "ram"]
    one, other = (keras.saving.load_model(run / "vae.keras").get_weights() for run in runs)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert (runs[0] / "history.csv").read_text() == (runs[1] / "history.csv").read_text()
    assert (runs[0] / "data.json").read_text() == (runs[1] / "data.json").read_text()
    # Where the data are kept is no setting of the model: the same run goes on from memory.
    code, said, _ = ended(*common, "--run", tmp_path / "disk")
    assert code == 0 and "finished: nothing to do" in said
    monkeypatch.setattr(keeping, "available_memory", lambda: 2 * 64 * 20)
    code, said, _ = ended("evaluate", tmp_path / "ram", "--num-samples", "5")
    assert code == 0 and "of data are kept on disk, in" in said


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut off", "removed"])
def test_a_cache_that_is_damaged_while_a_run_trains(damage, pictures, tmp_path, ended, monkeypatch):
    command = ["train", "--set", *MODEL, f"data.path={pictures}", "data.memory=disk", "train.epochs=3"]
    command += [f"data.cache={tmp_path / 'cache'}", "--run"]
    code, _, said = ended(*command, tmp_path / "whole")
    assert code == 0, said
    (path,) = (tmp_path / "cache").glob("*/rows.bin")
    read, asked = OnDisk.rows, []

    def damaged(array, rows):
        asked.append(rows)
        if len(asked) == 25:
            shutil.rmtree(path.parent) if damage == "removed" else os.truncate(path, 99)
        return read(array, rows)

    with monkeypatch.context() as patch:
        patch.setattr(OnDisk, "rows", damaged)
        code, _, said = ended(*command, tmp_path / "run")
    assert len(asked) >= 25
    if damage == "removed":  # who is reading keeps what it has
        assert code == 0 and not path.exists(), said
    else:
        assert code == 1 and len(said.splitlines()) < 4, said
        assert "rows.bin' was changed while its data were in use: start again" in said
        assert "same command goes on from" in said or "same command starts anew" in said
        code, _, said = ended(*command, tmp_path / "run")
        assert code == 0, said
    one, other = (keras.saving.load_model(tmp_path / run / "vae.keras").get_weights() for run in ("whole", "run"))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_disk_without_room_is_said_in_a_line(pictures, tmp_path, ended, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("usage", (), {"free": 0}))
    code, _, said = ended(
        *["train", "--set", *MODEL, f"data.path={pictures}", "data.memory=disk", f"data.cache={tmp_path / 'cache'}"],
        *["--run", tmp_path / "run"],
    )
    assert code == 1 and "No space left on device" in said and str(tmp_path / "cache") in said and "data.cache" in said


def test_a_place_that_is_none_is_refused(pictures, ended):
    code, _, said = ended("train", "--set", *MODEL, f"data.path={pictures}", "data.memory=tape")
    assert code == 2 and "data.memory" in said and "disk" in said


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_ended_while_it_decodes_it_goes_on_there(how, tmp_path):
    for number in range(60):
        picture(tmp_path / "pictures" / f"{number:03}.png", mode="L")
    program = [sys.executable, "-c", "from keras_vae_cli.main import main; main()", "train", "--set", *MODEL[:-2]]
    program += [f"data.path={tmp_path / 'pictures'}", "data.memory=disk", "export.formats=[]"]
    program += [f"data.cache={tmp_path / 'cache'}", "--run", str(tmp_path / "run")]
    quick = "import keras_vae.data.storage.entries as e; e.EVERY, e.AT_MOST = 0.0, 1e9; "
    slow = "import keras_vae.data.readers.folders as f, time; d = f.decode; "
    slow += "f.decode = lambda path: time.sleep(0.2) or d(path); "
    many = "import keras_vae.data.readers.many_files as m; m.FILES_PER_TASK = 1; "
    held = [*program[:2], quick + slow + many + program[2], *program[3:]]
    process = subprocess.Popen(held, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=_heed)
    deadline = time.monotonic() + 200
    while not list((tmp_path / "cache").glob("*/rows.bin")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(2.0)
    process.send_signal(how)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == (130 if how == signal.SIGINT else -9), said
    assert "Traceback" not in said
    seen = "import keras_vae.data.readers.folders as f; d = f.decode; "
    seen += "f.decode = lambda path: print('decoded', path.name) or d(path); "
    again = subprocess.run([*program[:2], seen + program[2], *program[3:]], capture_output=True, text=True, check=True)
    assert 0 < again.stdout.count("decoded") < 60


def _heed():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
