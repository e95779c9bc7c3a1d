"""`benchmarks/configs.py`, in a checkout whose configs take seconds."""

import importlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_vae_cli.commands import run_data

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
SMALL = """
data: {name: NAME, binarize: threshold}
model: {latent_dim: 2, encoder: {name: mlp, units: [128]}, decoder: {name: mlp, units: [128]}}
train: {epochs: EPOCHS, learning_rate: 0.005, checkpoint_steps: 20}
"""
UNKNOWN_VALUE = "(not measured: a test)"


@pytest.fixture
def checkout(tmp_path):
    """A function that makes configs: names to their heads, and where their data are."""
    shutil.copytree(
        BENCHMARKS, tmp_path / "benchmarks", ignore=shutil.ignore_patterns("results", "contestants", "peers")
    )
    (tmp_path / "configs").mkdir()

    def make(name, head, source="digits", epochs=1):
        text = head + SMALL.replace("NAME", source).replace("EPOCHS", str(epochs))
        (tmp_path / "configs" / f"{name}.yaml").write_text(text)
        return tmp_path

    return make


def command(folder, *arguments):
    return [sys.executable, str(folder / "benchmarks" / "configs.py"), *map(str, arguments)]


def configs(folder, *arguments):
    done = subprocess.run(command(folder, *arguments), cwd=folder, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_a_config_without_a_promise_fails(checkout):
    done = configs(checkout("quiet", "# Says nothing."))
    assert done.returncode == 1
    assert "quiet: promises nothing" in done.stdout and "| quiet | promises nothing |" in done.stdout


def test_data_that_are_not_at_hand_are_told_before_anything_runs(checkout, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "/nowhere")
    folder = checkout("faces", f"# Promise: test_elbo >= 0 {UNKNOWN_VALUE}", source="lfw")
    done = configs(folder)
    assert done.returncode == 3
    assert "| faces | not run: needs lfw: --fetch lets" in done.stdout
    assert not list(folder.glob("runs/configs/faces*"))
    other = configs(folder, "--data", "lfw=missing")
    assert other.returncode == 2 and "there is no missing" in other.stderr


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (f"# Promise: beauty >= 1 {UNKNOWN_VALUE}", "there is no benchmarks/measures/beauty.py"),
        ("# Promise: test_elbo is good", "configs/wrong.yaml, line 1: 'Promise: test_elbo is good' is not of the form"),
    ],
)
def test_a_head_that_is_wrong_is_told_before_anything_runs(checkout, head, said):
    checkout("a", f"# Promise: test_elbo >= -100 {UNKNOWN_VALUE}")
    folder = checkout("wrong", head)
    done = configs(folder)
    assert done.returncode == 2 and said in done.stderr
    assert not (folder / "runs").exists()


def test_unknown_names_and_trials_that_would_be_published_are_refused(checkout):
    folder = checkout("a", f"# Promise: test_elbo >= -100 {UNKNOWN_VALUE}")
    assert "there is no config 'b'; there are a" in configs(folder, "b").stderr
    assert configs(folder, "a", "--write", "--set", "train.epochs=2").returncode == 2


@pytest.mark.slow
def test_promised_and_measured(checkout):
    kept = f"# Promise: test_elbo >= -100 {UNKNOWN_VALUE}\n# Promise: test_elbo <= -1 {UNKNOWN_VALUE}"
    checkout("kept", kept)
    folder = checkout("broken", f"# Promise: test_elbo >= -1 {UNKNOWN_VALUE}")
    done = configs(folder, "kept", "--runs", "runs", "--seeds", 3, "--write")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kept, seed 3: training" in done.stdout and "| kept | test_elbo >= -100 |" in done.stdout
    rows = json.loads((folder / "runs" / "results.json").read_text())["rows"]
    (row,) = [row for row in rows if row["promise"] == "test_elbo <= -1"]
    report = json.loads((folder / "runs" / "kept-3" / "report.json").read_text())
    assert row["value"] == report["training"]["test_elbo"] and row["met"] and row["seed"] == 3
    assert row["processor_minutes"] > 0.0 and row["commit"] and row["versions"]["keras"] and row["date"]
    page = (folder / "benchmarks" / "results" / "configs.md").read_text()
    assert "| kept | test_elbo >= -100 |" in page and str(folder) not in page
    # What is there is not made again; what is not kept, and what cannot be had, are said.
    (folder / "runs" / "broken-3").mkdir()
    (folder / "runs" / "broken-3" / "mine").touch()
    done = configs(folder, "--runs", "runs", "--seeds", 3)
    assert done.returncode == 1 and "kept, seed 3: training" not in done.stdout
    assert "failed: the training ended with exit code 1" in done.stdout and "is no run folder" in done.stdout


@pytest.mark.slow
def test_a_training_that_is_stopped_has_saved(checkout):
    folder = checkout("long", f"# Promise: test_elbo >= -1 {UNKNOWN_VALUE}", epochs=10_000)
    run = folder / "runs" / "long-0"
    process = subprocess.Popen(command(folder, "--runs", "runs"), cwd=folder)
    history = run / "history.csv"
    while not history.exists() or len(history.read_text().splitlines()) < 5:  # checkpoints come every second epoch
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert (run / "vae.keras").exists() and not (run / "report.json").exists()
    assert "the same command goes on from step" in (folder / "runs" / "long-0.log").read_text()
    assert json.loads((folder / "runs" / "results.json").read_text())["minutes"]["long-0"]["processor"] > 0.0


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("quick")


def test_a_config_that_cannot_be_made_is_wrong_and_the_others_are_looked_at(quick, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quick.promises, "CONFIGS", tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("data: {name: digits}\nmodel: {prior: Gold}\n")
    assert quick.run(["a", "b"], tmp_path / "runs") == 1
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("| a |", "| b |"))]
    assert len(rows) == 2 and all("no prior is called 'Gold'" in row for row in rows)


def test_what_differs_in_its_data_alone_is_looked_at_once(quick, tmp_path, monkeypatch):
    texts = {
        "faces": "data: {name: lfw, resize: [32, 32]}",
        "mine": "data: {path: pictures}",
        "large": "data: {path: pictures, resize: [64, 64]}",
        "digits": "data: {name: digits}",
        "gated": "data: {path: pictures}\nmodel: {encoder: {name: gated_mlp, units: [8]}}",
    }
    monkeypatch.setattr(quick.promises, "CONFIGS", tmp_path)
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text + "\n")
    assert [quick.twin(name, list(texts)) for name in texts] == [None, "faces", None, None, None]


@pytest.mark.usefixtures("own_cache")
def test_stand_ins_are_of_the_same_shape(quick, tmp_path):
    shapes = {}
    for name in ("mnist", "frey_manifold", "shapes_beta", "image_folder", "digits"):
        path = quick.promises.CONFIGS / f"{name}.yaml"
        config = quick.settings.load(path, quick.smaller(quick.settings.load(path), tmp_path / name))
        splits = run_data.open_data(config)
        shapes[name] = tuple(splits.test.event_shape)
        assert len(splits.train) >= quick.STEPS * config.data.batch_size * 0.9 and splits.validation
    assert shapes == {
        "mnist": (28, 28, 1),
        "frey_manifold": (28, 20, 1),
        "shapes_beta": (24, 24, 1),
        "image_folder": (32, 32, 3),
        "digits": (8, 8, 1),
    }


@pytest.mark.slow
def test_what_is_dead_and_averages_that_are_noise_are_seen(quick, tmp_path):
    for name in ("dead", "alive"):
        (tmp_path / name).mkdir()
    dead = quick.look("digits", tmp_path / "dead", ["model.objective={name: ELBO, kl_weight: 10000.0}"])
    assert any(fault.startswith("the posterior is the prior: a KL of ") for fault in dead.faults)
    checked = quick.look("digits", tmp_path / "alive", ["train.ema_momentum=0.99"])
    assert checked.faults == [] and checked.last > checked.first and checked.kl > 1.0
    path = tmp_path / "alive" / "run" / "history.csv"
    names, *rows = [line.split(",") for line in path.read_text().splitlines()]
    # What is held out is judged by averaged weights: those of the last epoch are as bad as those of the first.
    rows[-1][names.index("val_elbo")] = rows[0][names.index("val_elbo")]
    path.write_text("\n".join(",".join(row) for row in [names, *rows]) + "\n")
    (fault,) = quick.examine("digits", path.parent).faults
    assert fault.startswith("averaged weights: ELBO ")
