"""Run folders that are whole, incomplete, damaged and somebody else's, in one process."""

import json
import math
import os
import shutil
import time
import zipfile

import keras
import numpy as np
import pytest

from keras_vae import data, files
from keras_vae.training import checkpoint_state
from keras_vae_cli import settings
from keras_vae_cli.commands import build, run_folder, train
from keras_vae_cli.errors import ConfigError

MODEL = "{latent_dim: 2, encoder: {name: mlp, units: [8]}, decoder: {name: mlp, units: [8]}}"


@pytest.fixture
def run(tmp_path):
    """A run folder as training leaves it, but for the training."""
    (tmp_path / "config.yaml").write_text(f"data: {{name: digits, binarize: threshold}}\nmodel: {MODEL}\n")
    vae = build.make_vae(build.read(tmp_path), (8, 8, 1))
    vae.save(tmp_path / "vae.keras")
    (tmp_path / "history.csv").write_text("epoch,elbo,val_elbo\n0,-40.0,-41.0\n1,-39.0,-40.0\n")
    (tmp_path / "report.json").write_text(json.dumps({"finished": True}))
    return tmp_path


def test_a_run_is_evaluated_and_drawn(run, capsys):
    run_folder.evaluate(run, num_samples=3, limit=40)
    report = json.loads((run / "report.json").read_text())
    assert report["finished"]
    assert report["test"]["num_examples"] == 40
    assert report["test"]["log_likelihood"]["num_samples"] == 3
    assert "3 importance samples" in capsys.readouterr().out
    run_folder.plot(run)
    assert {"samples.png", "manifold.png", "traversals.png"} <= {path.name for path in (run / "pictures").iterdir()}


def test_annealing_of_a_model_with_a_code_is_refused_before_the_work(run):
    model = MODEL.replace(
        "{latent", "{objective: InformationCascade, vae: {name: CascadeVAE, num_classes: 3}, latent", 1
    )
    (run / "config.yaml").write_text(f"data: {{name: digits, binarize: threshold}}\nmodel: {model}\n")
    build.make_vae(build.read(run), (8, 8, 1)).save(run / "vae.keras")
    before = (run / "report.json").read_bytes()
    with pytest.raises(ValueError, match="discrete latents do not have: of this model 3 dimensions of kind 'one-hot'"):
        run_folder.evaluate(run, num_samples=10**9, annealed=True)
    assert (run / "report.json").read_bytes() == before


def test_training_starts_from_the_weights_of_another_run(run, capsys):
    made = ["data: {name: digits, binarize: threshold}", f"model: {MODEL}"]
    text = "\n".join(
        [*made, f"train: {{epochs: 1, learning_rate: 1e-9, start_from: '{run}'}}", "export: {formats: []}"]
    )
    (run / "more.yaml").write_text(text)
    train.train(settings.load(run / "more.yaml"), run / "more")
    assert f"starting from the weights of {run}" in capsys.readouterr().out
    begun, ended = run_folder.load_model(run), run_folder.load_model(run / "more")
    for name in ("encoder", "decoder", "prior"):
        for a, b in zip(getattr(begun, name).get_weights(), getattr(ended, name).get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    assert int(begun.step) == 0 and int(ended.step) > 0

    with pytest.raises(ConfigError, match=r"encoder of .* shapes .*agree in all but the objective"):
        train.train(settings.load(run / "more.yaml", ["model.encoder.units=[9]"]), run / "other")
    with pytest.raises(ConfigError, match=r"holds no vae\.keras"):
        train.train(settings.load(run / "more.yaml", ["train.start_from=nowhere"]), run / "third")


PRETRAINED = f"""
data: {{name: digits, binarize: threshold}}
model: {MODEL[:-1]}, prior: {{name: NormalMixture, num_components: 5}}}}
train: {{epochs: 1, learning_rate: 1.0e-9, pretraining: {{epochs: 4, learning_rate: 0.01}}}}
export: {{formats: []}}
"""


def test_pretraining_is_a_run_of_its_own_from_whose_codes_the_prior_starts(tmp_path, capsys):
    (tmp_path / "clusters.yaml").write_text(PRETRAINED)
    made, run = settings.load(tmp_path / "clusters.yaml"), tmp_path / "run"
    train.train(made, run)
    first, second = run_folder.load_model(run / "pretraining"), run_folder.load_model(run)
    for name in ("encoder", "decoder"):
        for a, b in zip(getattr(first, name).get_weights(), getattr(second, name).get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    # The objective of the first phase has trained no prior; that of the second starts where the codes are.
    again = build.make_vae(made, (8, 8, 1)).prior
    examples = run_folder.open_data(made).train
    x = np.concatenate(list(examples.dataset(500).map(lambda x, y: x)))
    again.adapt_to_codes(first.encode(x).sample(seed=1))
    z = first.encode(x).sample(seed=2)
    means = [float(np.mean(p.distribution().log_prob(z))) for p in (first.prior, second.prior, again)]
    assert means[1] > means[0] + 0.1
    assert means[1] == pytest.approx(means[2], abs=0.1)
    report = run_folder.read_report(run / "pretraining")["training"]
    assert report["validation_log_likelihood"] is not None and report["steps"] == 4 * math.ceil(
        len(examples) / made.data.batch_size
    )
    assert "validation_elbo" in run_folder.read_report(run)["training"]
    assert (run / "pictures" / "clusters.png").is_file()
    capsys.readouterr()
    train.train(made, run)
    assert "is finished: nothing to do" in capsys.readouterr().out


def test_a_start_is_given_once():
    with pytest.raises(ConfigError, match="give either start_from or pretraining"):
        settings.load(None, ["train.start_from=somewhere", "train.pretraining={epochs: 2}"])
    with pytest.raises(ConfigError, match=r"train.pretraining.objective: .*no objective is called 'Elbow'"):
        settings.load(None, ["train.pretraining={epochs: 2, objective: Elbow}"])


def other_run(run):
    """The same with the name of another run, as if its model had been copied into this folder."""
    checkpoint_state.save(build.make_vae(build.read(run), (8, 8, 1)), run / "vae.keras", "another")


def unnamed(run):
    build.make_vae(build.read(run), (8, 8, 1)).save(run / "vae.keras")


@pytest.mark.parametrize(
    ("put", "message"), [(other_run, "is a model of another run"), (unnamed, "not written by keras-vae train")]
)
def test_a_model_of_another_run_is_refused_unless_the_run_has_no_name(run, put, message, tmp_path_factory):
    again = settings.load(run / "config.yaml")
    run_folder.plot(run)  # of before there were names
    own = run_folder.identify(run)
    checkpoint_state.save(run_folder.untrusted.load(run / "vae.keras"), run / "vae.keras", own)
    assert checkpoint_state.run_of(run / "vae.keras") == own
    moved = tmp_path_factory.mktemp("elsewhere") / "run"
    shutil.copytree(run, moved)
    run_folder.load_model(moved)
    put(moved)
    before = (moved / "vae.keras").read_bytes()
    (moved / "report.json").unlink()
    for refused in (
        lambda: run_folder.load_model(moved),
        lambda: run_folder.evaluate(moved, num_samples=2),
        lambda: run_folder.export(moved),
        lambda: train.train(again, moved),
        lambda: build_from(moved, again),
    ):
        with pytest.raises(ConfigError, match=f"{message}.* or delete .*run.json"):
            refused()
    assert (moved / "vae.keras").read_bytes() == before
    (moved / "run.json").unlink()
    run_folder.load_model(moved)
    (moved / "run.json").write_text("{")
    with pytest.raises(ConfigError, match=r"run\.json is damaged"):
        run_folder.load_model(moved)


def build_from(run, made):
    changed = made.model_copy(update={"train": made.train.model_copy(update={"start_from": str(run)})})
    train.train(changed, run.parent / "new")


def a_finished_run(folder, *changes):
    (folder.parent / "mine.yaml").write_text(
        f"data: {{name: digits, binarize: threshold}}\nmodel: {MODEL}\ntrain: {{epochs: 2}}\nexport: {{formats: []}}"
    )
    train.train(settings.load(folder.parent / "mine.yaml", changes), folder)
    return folder


def test_a_command_that_is_told_to_end_before_the_first_step_says_so(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train.VAE, "adapt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        a_finished_run(tmp_path / "run")
    assert "The same command starts anew" in capsys.readouterr().out


@pytest.mark.slow
def test_a_finished_run_records_no_settings_that_it_was_not_trained_with(tmp_path, capsys):
    run = a_finished_run(tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    def again(*changes):
        train.train(settings.load(tmp_path / "mine.yaml", changes), run, accept_changes=True)

    with pytest.raises(ConfigError, match="trained for 2 epochs, and 1 cannot be had"):
        again("train.epochs=1")
    with pytest.raises(ConfigError, match=r"its 2 epochs were trained with other settings(.|\n)*Nothing was changed"):
        again("train.learning_rate=0.1")
    # What is refused when the model or the data are there, and not before, changes nothing either.
    for changes in (["model.latent_dim=3"], ["data.batch_size=5000"]):
        with pytest.raises(ValueError, match=r"another model|batch_size"):
            again("train.epochs=3", *changes)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    again("export.quantize=[int8]")
    assert build.read(run).export.quantize == ["int8"] and "keras-vae export" in capsys.readouterr().out

    # Another run's checkpoints, and its history.
    other = tmp_path / "other"
    shutil.copytree(run, other)
    (other / "report.json").unlink()
    name = run_folder.identify(other)
    checkpoint_state.save(run_folder.untrusted.load(run / "vae.keras"), other / "vae.keras", name)
    with pytest.raises(ValueError, match=r"The checkpoints in .*other.* are of another run"):
        train.train(settings.load(other / "config.yaml"), other)

    again("train.epochs=3", "export.quantize=[int8]")
    assert "resumed from step 22 (2 epochs)" in capsys.readouterr().out
    report = json.loads((run / "report.json").read_text())
    assert report["finished"] and report["training"]["steps"] == 33 and report["earlier"][0]["training"]["steps"] == 22
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(ConfigError, match="no checkpoint to go on from"):
        again("train.epochs=4", "export.quantize=[int8]")
    assert build.read(run).train.epochs == 3


@pytest.mark.parametrize(
    ("name", "is_folder"),
    [
        *[(name, False) for name in ("pictures", "checkpoints", "tensorboard", "export")],
        *[(name, True) for name in ("vae.keras", "history.csv", "report.json", "run.json", "index.html")],
    ],
)
def test_what_stands_in_the_way_is_said_before_the_training(tmp_path, name, is_folder):
    run = tmp_path / "a[/b] :smile:"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(f"data: {{name: nonsense}}\nmodel: {MODEL}\n")
    (run / name).mkdir() if is_folder else (run / name).write_text("mine")
    with pytest.raises(OSError) as error:
        train.train(settings.load(run / "config.yaml"), run)
    assert f"{run / name} is no {'file' if is_folder else 'folder'}, and one is needed there" in str(error.value)


def test_a_model_that_no_memory_holds_is_refused_with_its_size(tmp_path):
    for change, weights in (
        ("model.latent_dim=1000000000", "770,000,348,485"),
        ("model.encoder.units=[1000000000]", "97,000,188,005"),
        ("model.prior={name: VampPrior, num_pseudo_inputs: 1000000000}", "64,000,"),
    ):
        began = time.monotonic()
        with pytest.raises(ConfigError, match=rf"would have {weights}.* GB.*config is model\.[a-z._]+=1000000000"):
            train.train(settings.load(None, [change]), tmp_path / "run")
        assert time.monotonic() - began < 5
    with pytest.raises(ConfigError, match="optimizer_arguments: Adam does not take these"):
        train.train(settings.load(None, ["train.optimizer_arguments.beta1=0.9"]), tmp_path / "run")


def test_with_one_test_image_what_needs_more_is_left_out_with_a_line(run, capsys):
    np.save(run / "few.npy", np.eye(8, dtype="float32").repeat(3, axis=0).reshape(3, 8, 8, 1))
    text = f"data: {{path: '{run / 'few.npy'}', batch_size: 1, validation_split: 0}}\nmodel: {MODEL}\n"
    (run / "config.yaml").write_text(text)
    run_folder.plot(run)
    assert "interpolations are not drawn: they need two examples" in capsys.readouterr().out
    assert {"samples.png", "traversals.png"} <= {path.name for path in (run / "pictures").iterdir()}
    run_folder.evaluate(run, num_samples=3)
    assert "There is one test example" in capsys.readouterr().out
    test = json.loads((run / "report.json").read_text())["test"]
    assert test["active_units"] is None and test["standard_error"] is None and test["aggregate_posterior"] is None


def test_two_processes_do_not_train_in_one_folder(run, tmp_path_factory):
    again = settings.load(None, ["train.epochs=1", "export.formats=[]"])
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with files.locked(run), pytest.raises(files.Busy, match="has been writing to"):
        train.train(again, run)
    for command in (run_folder.evaluate, run_folder.plot, run_folder.export):
        with files.locked(run), pytest.raises(files.Busy, match=f"process {os.getpid()} on .* has been writing to"):
            command(run)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    empty = tmp_path_factory.mktemp("empty")
    with files.locked(empty), pytest.raises(files.Busy):
        train.train(again, empty)
    assert not any(empty.iterdir())


def test_a_command_that_never_trained_does_not_claim_the_folder(tmp_path):
    text = f"data: {{name: digits, binarize: threshold}}\nmodel: {MODEL}\ntrain: {{epochs: 1}}\nexport: {{formats: []}}"
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match="latents must be"):
        train.train(settings.load(tmp_path / "mine.yaml", ["model.latents=[0]"]), tmp_path / "run")
    train.train(settings.load(tmp_path / "mine.yaml"), tmp_path / "run")
    assert build.read(tmp_path / "run").model.latents is None
    with pytest.raises(ConfigError, match="a run with other settings"):
        train.train(settings.load(tmp_path / "mine.yaml", ["train.seed=1"]), tmp_path / "run")


def test_some_examples_of_sorted_data_are_of_all_classes():
    y = np.repeat(np.arange(10), 100)
    named = {"x_train": y[:, None] / 10.0, "y_train": y, "x_test": y[:, None] / 10.0, "y_test": y}
    first = run_folder.some(data.read_splits(named, labels=True).test, 60)
    labels = np.concatenate([label for _, label in first.dataset(60).as_numpy_iterator()])
    assert len(np.unique(labels)) == 10


def replaced(run, content):
    (run / "vae.keras").write_bytes(content)


def with_half_the_weights(run):
    with zipfile.ZipFile(run / "vae.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(run / "vae.keras", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content[: len(content) // 2] if name.endswith(".h5") else content)


def of_another_kind(run):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(run / "vae.keras")


def of_other_data(run):
    build.make_vae(build.read(run), (28, 20, 1)).save(run / "vae.keras")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "vae.keras").unlink(), "holds no vae.keras yet"),
        (lambda run: replaced(run, b"thesis"), "vae.keras is damaged"),
        (lambda run: replaced(run, (run / "vae.keras").read_bytes()[:-5000]), "vae.keras is damaged"),
        (with_half_the_weights, "vae.keras is damaged: its model.weights.h5 is not what was saved.*\n.*copy"),
        (of_another_kind, "holds a Sequential"),
        (of_other_data, r"\(28, 20, 1\).*digits.*\(8, 8, 1\)"),
        (lambda run: (run / "config.yaml").write_text("site_name: x"), "no run folder.*\n.*\n.*data: is missing"),
        (lambda run: (run / "config.yaml").write_text(": : ["), "no run folder.*\n.*not a YAML file"),
    ],
)
def test_folders_that_are_damaged_or_foreign_are_refused(run, damage, message):
    damage(run)
    before = sorted(path.name for path in run.iterdir())
    for command in (run_folder.evaluate, run_folder.plot):
        with pytest.raises(ConfigError, match=message):
            command(run)
    assert sorted(path.name for path in run.iterdir()) == before


def test_a_damaged_report_is_found_before_the_work(run):
    (run / "report.json").write_text("{")
    with pytest.raises(ConfigError, match=r"report\.json is damaged"):
        run_folder.evaluate(run)
    assert (run / "report.json").read_text() == "{"
