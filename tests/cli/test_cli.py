"""The command line: real runs in processes of their own, and what it refuses."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import yaml
from PIL import Image
from processes import bound_by_permissions

import keras_vae as kv
from keras_vae import data

SMALL = ["--set", "train.epochs=2", "model.latent_dim=2", "model.encoder.units=[16]", "model.decoder.units=[16]"]
NO_EXPORT = ["export.formats=[]"]


def command(*arguments, **options):
    program = [sys.executable, "-c", "from keras_vae_cli.main import main; main()", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The default job, made small."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    result = command("train", *SMALL, "--run", folder)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_the_default_job_leaves_a_run_folder(run):
    folder, output = run
    for name in (
        "config.yaml",
        "vae.keras",
        "checkpoints",
        "history.csv",
        "report.json",
        "index.html",
        "pictures",
        "export",
        "tensorboard",
    ):
        assert (folder / name).exists(), name
        assert name in output
    for word in ("elbo", "log_likelihood", "kl", "validation", "test: elbo", "keras-vae evaluate", "keras-vae export"):
        assert word in output, word
    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert {"loss", "elbo", "log_likelihood", "kl", "val_elbo", "val_log_likelihood", "val_kl"} <= set(rows[0])
    assert yaml.safe_load((folder / "config.yaml").read_text())["train"]["epochs"] == 2
    report = json.loads((folder / "report.json").read_text())
    assert report["training"]["test_elbo"] < 0
    told = report["training"]["samples"]
    assert told["num_each"] == 360 and 0.5 < told["accuracy"] <= 1.0
    said = f"a nearest neighbour tells drawn from real images in {told['accuracy']:.0%} of cases, where 50% is chance"
    assert f"Learned: {report['training']['active_units']} of 2 dimensions used; {said}" in " ".join(output.split())
    printed = next(line for line in output.splitlines() if line.startswith("In Python:"))
    names = {}
    exec(printed.removeprefix("In Python:").strip() + "; x = vae.sample(16, seed=0)", names)
    assert names["x"].shape == (16, 8, 8, 1)
    vae = keras.saving.load_model(folder / "vae.keras")
    assert vae.sample(2, seed=0).shape == (2, 8, 8, 1)
    for name in ("samples", "reconstructions", "manifold"):
        with Image.open(folder / "pictures" / f"{name}.png") as picture:
            assert picture.size[0] > 200
    page = (folder / "index.html").read_text()
    drawn = {path.name for path in (folder / "pictures").iterdir()}
    assert {name.removeprefix('src="pictures/').rstrip('"') for name in re.findall(r'src="[^"]*"', page)} == drawn
    assert f"elbo {report['training']['test_elbo']:.5g}" in page
    (events,) = (folder / "tensorboard" / "pictures").iterdir()
    assert b"reconstructions" in events.read_bytes()
    assert list((folder / "export").rglob("saved_model.pb"))
    assert list((folder / "export").rglob("*.tflite"))


def test_a_run_that_collapsed_says_so_at_its_end(tmp_path, ended):
    objective = "model.objective={name: ELBO, kl_weight: 1000}"
    code, out, _ = ended("train", *SMALL, *NO_EXPORT, objective, "train.epochs=4", "--run", tmp_path / "run")
    assert code == 0
    assert out.strip().splitlines()[-1].startswith("! posterior collapse: KL(q(z|x) || p(z)) is ")
    (finding,) = json.loads((tmp_path / "run/report.json").read_text())["training"]["findings"]
    assert finding["name"] == "posterior_collapse" and finding["is_harmful"]


def test_a_finished_run_is_left_alone(run, ended):
    folder, _ = run
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    code, out, _ = ended("train", *SMALL, "--run", folder)
    assert code == 0
    assert "finished" in out
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()} == before


def test_another_config_does_not_go_into_the_same_folder(run, ended):
    folder, _ = run
    code, _, err = ended("train", *SMALL, "train.seed=3", "--run", folder)
    assert code == 1
    assert "seed: 0" in err and "seed: 3" in err and "--run" in err
    assert "--accept-changes" in err


def test_a_foreign_folder_is_not_touched(tmp_path, ended):
    (tmp_path / "thesis.txt").write_text("years of work")
    code, _, err = ended("train", *SMALL, "--run", tmp_path)
    assert code == 1
    assert "no run folder" in err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["evaluate", "plot", "export"])
def test_folders_that_are_no_runs_are_refused(tmp_path, name, ended):
    for folder in (tmp_path, tmp_path / "nowhere"):
        code, _, err = ended(name, folder)
        assert code == 2
        assert "run folder" in err
    (tmp_path / "config.yaml").write_text("data: {name: digits}")
    code, _, err = ended(name, tmp_path)
    assert code == 1
    assert "vae.keras" in err


@pytest.mark.parametrize("number", ["1.5", "none", "latest", "1e3", "0x10", "1_000", "", "²"])
def test_whole_numbers_are_not_made_of_others(number, tmp_path, ended):
    for call in (
        ["export", tmp_path, "--version"],
        ["evaluate", tmp_path, "--limit"],
        ["evaluate", tmp_path, "--seed"],
    ):
        code, printed, said = ended(*call, number)
        assert code == 2 and "is no whole number" in printed + said


@pytest.mark.parametrize("version", ["9223372036854775808", "100000000000000000000", "0"])
def test_versions_that_tensorflow_serving_cannot_read_are_refused(version, run, ended):
    folder, _ = run
    before = sorted(folder.rglob("*"))
    code, _, said = ended("export", folder, "--version", version)
    assert code == 1 and "must be an int from 1 to 9223372036854775807" in said
    assert sorted(folder.rglob("*")) == before


def test_help_and_errors_do_not_wait_for_tensorflow(tmp_path):
    check = "import sys; from keras_vae_cli.main import main\ntry: main(sys.argv[1:])\n"
    check += "finally: print('tensorflow' in sys.modules)"
    for arguments, code in ((["--help"], 0), (["train", "--set", "train.epochs=x"], 2), (["train", "--nonsense"], 2)):
        result = subprocess.run([sys.executable, "-c", check, *arguments], capture_output=True, text=True)
        assert result.returncode == code
        assert result.stdout.strip().endswith("False")


def test_the_config_may_follow_the_overrides(tmp_path, ended):
    config = tmp_path / "my.yaml"
    config.write_text("data: {name: digits}")
    code, _, err = ended("train", "--set", "train.epochs=zero", config)
    assert code == 2
    assert "my.yaml" in err and "train.epochs" in err


def test_data_that_are_missing_are_an_error_of_one_line(tmp_path, ended):
    code, _, err = ended("train", "image_folder", "--set", "data.path=nowhere", "--run", tmp_path / "run")
    assert code == 1
    assert err.startswith("keras-vae: ") and "nowhere" in err


@pytest.mark.slow
def test_a_run_folder_that_can_only_be_read_is_refused_before_the_work(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run[0], folder)
    bound = {"preexec_fn": bound_by_permissions}
    for mode, place, names in (
        (0o555, folder, [["evaluate"], ["train", *SMALL, "train.epochs=3", "--accept-changes"]]),
        (0o555, folder / "pictures", [["plot"]]),
        (0o000, folder, [["export"]]),
    ):
        place.chmod(mode)
        for name, *rest in names:
            target = [*rest, "--run", folder] if name == "train" else [folder]
            result = command(name, *target, **bound)
            assert result.returncode == 1, result.stdout + result.stderr
            assert (
                str(place) in result.stderr and "Permission denied" in result.stderr and ".writing" not in result.stderr
            )
            assert "yourself the right" in result.stderr and "Errno" not in result.stderr
            assert len(result.stderr.splitlines()) == 1 and not result.stdout
        place.chmod(0o755)
    (tmp_path / "parent").mkdir(mode=0o555)
    result = command("train", *SMALL, "--run", tmp_path / "parent" / "new" / "run", **bound)
    assert result.returncode == 1 and "parent/new/run cannot be written to (Permission denied)" in result.stderr


@pytest.mark.slow
def test_a_folder_of_pictures(tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for index in range(40):
        size = (20, 16) if index % 4 else (24, 24)
        pixels = generator.integers(0, 256, (*size, 3), dtype="uint8")
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{index}.png")
    (tmp_path / "pictures" / "broken.jpg").write_bytes(b"not a picture")
    changes = ["data.path=pictures", "data.resize=[13, 9]", "data.batch_size=8", "model.latent_dim=3", "train.epochs=1"]
    parts = ["model.posterior=MultivariateNormalDiag", "model.prior=StandardNormal", "model.objective=ELBO"]
    parts += ["model.encoder.filters=[4, 4]", "model.decoder={name: residual, filters: [4, 4]}", *NO_EXPORT]
    result = command("train", "image_folder", "--set", *changes, *parts, "--run", "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "13x9x3" in result.stdout
    assert "broken.jpg" in result.stderr + result.stdout
    assert keras.saving.load_model(tmp_path / "run" / "vae.keras").sample(1, seed=0).shape == (1, 13, 9, 3)


@pytest.mark.slow
def test_a_mirrored_run_ends_like_any_other(tmp_path):
    result = command("train", *SMALL, *NO_EXPORT, "train.distribute=mirrored", "--run", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    weights = keras.saving.load_model(tmp_path / "run" / "vae.keras").get_weights()
    assert all(np.isfinite(weight).all() for weight in weights)


@pytest.mark.slow
@pytest.mark.skipif("TFDS_DATA_DIR" not in os.environ, reason="needs TFDS_DATA_DIR with MNIST prepared")
def test_mnist_by_name(tmp_path):
    result = command("train", "mnist", *SMALL, "train.epochs=1", *NO_EXPORT, "--run", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    assert "57,000 training, 3,000 validation, 10,000 test examples of shape 28x28x1" in result.stdout


@pytest.mark.slow
def test_averaged_weights_are_kept_and_not_worse_where_training_is_short(ended, tmp_path):
    """90 steps, averaged over 10,000 if Keras had its way: the model would be the one at the start."""
    elbo = {}
    for momentum in ("null", "0.9999"):
        run = tmp_path / momentum
        options = ["train.epochs=10", f"train.ema_momentum={momentum}", "export.formats=[]"]
        assert ended("train", "digits", "--run", run, "--set", *options)[0] == 0
        elbo[momentum] = json.loads((run / "report.json").read_text())["training"]["test_elbo"]
        # The file holds the weights that were judged.
        test = data.load("digits")[-1]
        found = kv.load(run / "vae.keras").evaluate(test, return_dict=True, verbose=0)["elbo"]
        assert found == pytest.approx(elbo[momentum], abs=0.5)
    assert elbo["0.9999"] > elbo["null"] - 0.5
