"""Runs whose data have moved, grown or changed, evaluated, drawn, exported and resumed."""

import json
import shutil
import signal

import numpy as np
import pytest
from sources import picture

from keras_vae import data
from keras_vae_cli import settings
from keras_vae_cli.commands import run_data
from keras_vae_cli.commands.build import read
from keras_vae_cli.main import main

SET = ["model.latent_dim=2", "model.encoder={name: mlp, units: [4]}", "model.decoder={name: mlp, units: [4]}"]
SET += [
    "model.posterior=MultivariateNormalDiag",
    "model.prior=StandardNormal",
    "model.objective=ELBO",
    "train.epochs=1",
    "train.checkpoint_seconds=0",
    "data.batch_size=8",
    "export.formats=[]",
    "data.resize=null",
]
TRAIN = ["train", "image_folder", "--data", "pictures", "--run", "run", "--set", *SET]


def write(folder, numbers):
    for k in numbers:
        picture(folder / f"{'ab'[k % 2]}/{k}.png", mode="L", size=(4, 4), color=None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of pictures, and a run on them by a relative path."""
    home = tmp_path_factory.mktemp("home")
    write(home / "pictures", range(40))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr(signal, "signal", lambda *_: None)
        with pytest.raises(SystemExit) as end:
            main(TRAIN)
        assert end.value.code == 0
    return home


@pytest.fixture
def home(trained, tmp_path, monkeypatch):
    """A copy of both, whose record says that it was trained there; the current folder is another one."""
    shutil.copytree(trained, tmp_path / "home")
    record = tmp_path / "home/run/data.json"
    text = record.read_text()
    assert json.loads(text)["path"] == str(trained / "pictures")
    record.write_text(text.replace(str(trained), str(tmp_path / "home")))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home"


@pytest.fixture
def ended(ended):
    """The exit code, and all that was written."""

    def call(*arguments):
        code, out, err = ended(*arguments)
        return code, out + err

    return call


EVALUATE = ("--num-samples", "2", "--limit", "3")


def test_a_run_is_used_from_another_folder(home, ended):
    assert read(home / "run").data.path == "pictures"
    code, output = ended("evaluate", home / "run", *EVALUATE)
    assert code == 0, output
    assert ended("plot", home / "run")[0] == 0


def test_data_that_have_moved_are_named_once(home, ended, tmp_path):
    shutil.move(home / "pictures", tmp_path / "new place")
    code, output = ended("evaluate", home / "run", *EVALUATE)
    assert code != 0
    assert (
        str(tmp_path / "elsewhere/pictures") in output and str(home / "pictures") in output and "--data PATH" in output
    )
    assert ended("export", home / "run", "--format", "tflite", "--data", tmp_path / "new place")[0] == 0
    assert ended("plot", home / "run")[0] == 0  # it knows the place now
    assert read(home / "run").data.path == "pictures"
    code, output = ended("plot", home / "run", "--data", tmp_path / "nowhere")
    assert code != 0 and "nowhere" in output


def test_changed_data_are_shown_and_refused_unless_accepted(home, ended, monkeypatch):
    trained = trained_on(home)
    write(home / "pictures", range(40, 80))
    picture(home / "pictures/b/1.png", mode="L", size=(4, 4))
    (home / "pictures/a/2.png").unlink()
    before = {path.name: path.read_bytes() for path in (home / "run").iterdir() if path.is_file()}
    for command in (("evaluate", home / "run", *EVALUATE), ("plot", home / "run")):
        code, output = ended(*command)
        assert code != 0
        for words in (
            "40 files more: a/40.png",
            "1 file fewer: a/2.png",
            "1 file changed: b/1.png",
            "--accept-changes",
        ):
            assert words in output
        assert {path.name: path.read_bytes() for path in (home / "run").iterdir() if path.is_file()} == before
    code, output = ended("evaluate", home / "run", *EVALUATE, "--accept-changes")
    assert code == 0 and "40 files more" in output
    # What was trained on is not tested on.
    splits = run_data.open_data(read(home / "run"), home / "run")
    tested = {row.tobytes() for batch in splits.test.dataset(99).as_numpy_iterator() for row in images(batch)}
    assert not tested & trained

    (home / "run/report.json").unlink()
    monkeypatch.chdir(home)
    code, output = ended(*TRAIN)
    assert code != 0 and "40 files more" in output and "--accept-changes" in output
    assert json.loads((home / "run/data.json").read_bytes()) == json.loads(before["data.json"])
    code, output = ended(*TRAIN, "--accept-changes")
    assert code == 0 and "resumed from" in output, output
    assert ended("evaluate", home / "run", *EVALUATE)[0] == 0  # the new data are those of the run now


def images(batch):
    return batch[0] if isinstance(batch, tuple) else batch


def trained_on(home) -> set[bytes]:
    splits = run_data.open_data(read(home / "run"), home / "run")
    return {
        row.tobytes()
        for part in (splits.train, splits.validation)
        for batch in part.dataset(99).as_numpy_iterator()
        for row in images(batch)
    }


def test_a_run_is_resumed_with_data_elsewhere(home, ended, tmp_path, monkeypatch):
    (home / "run/report.json").unlink()
    shutil.move(home / "pictures", tmp_path / "new")
    monkeypatch.chdir(home)
    code, output = ended(*TRAIN[:3], tmp_path / "new", *TRAIN[4:])
    assert code == 0 and "resumed from" in output, output
    assert read(home / "run").data.path == "pictures"
    assert json.loads((home / "run/data.json").read_text())["path"] == str(tmp_path / "new")


def test_runs_that_do_not_say_what_they_were_trained_on(home, ended):
    record = home / "run/data.json"
    text = record.read_text()
    record.unlink()
    code, output = ended("plot", home / "run", "--data", home / "pictures")
    assert code == 0 and "does not say what data it was trained on" in output
    for damage in (text[:50], "[]", '{"fingerprint": 3}'):
        record.write_text(damage)
        code, output = ended("plot", home / "run")
        assert code != 0 and "data.json is damaged" in output


def test_a_place_of_data_is_for_files_only(tmp_path, ended):
    (tmp_path / "config.yaml").write_text("data: {name: digits}")
    code, output = ended("train", "digits", "--run", tmp_path, "--data", tmp_path)
    assert code != 0 and "dataset 'digits'" in output


def test_the_folder_of_prepared_datasets_is_found_from_elsewhere(tmp_path, monkeypatch):
    chosen = settings.load("digits", ["data.data_dir=cache"])
    for name in ("run", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    run_data.record(tmp_path / "run", chosen, run_data.open_data(chosen))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert not run_data.changes(tmp_path / "run", run_data.open_data(chosen, tmp_path / "run"))
    assert not any((tmp_path / "elsewhere").iterdir())


@pytest.mark.slow
def test_remarks_on_the_data_are_lines(tmp_path, ended):
    np.save(tmp_path / "few.npy", np.random.default_rng(0).integers(0, 17, (40, 4, 4), np.uint8))
    code, output = ended(
        "train",
        "image_folder",
        "--data",
        tmp_path / "few.npy",
        "--run",
        tmp_path / "run",
        "--set",
        *SET,
        "model.likelihood=Normal",
    )
    assert code == 0, output
    assert output.count("16 is taken for white") == 1 and "UserWarning" not in output
    again = data.read_splits(tmp_path / "few.npy", value_range=(0, 16)).fingerprint
    assert run_data.differences(json.loads((tmp_path / "run/data.json").read_text())["fingerprint"], again) == []


def test_another_folder_of_the_same_name_is_not_taken_for_the_data(home, tmp_path, ended):
    write(tmp_path / "elsewhere/pictures", range(3))
    code, output = ended("evaluate", home / "run", *EVALUATE)
    assert code == 0 and "not those" not in output, output
