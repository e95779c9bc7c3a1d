"""Run folders that are whole, incomplete, damaged and somebody else's, in one process."""

import json
import zipfile

import keras
import numpy as np
import pytest

from keras_vae import data, files
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


def test_two_processes_do_not_train_in_one_folder(run, tmp_path_factory):
    again = settings.load(None, ["train.epochs=1", "export.formats=[]"])
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with files.locked(run), pytest.raises(files.Busy, match="another process is writing to"):
        train.train(again, run)
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
        (with_half_the_weights, "vae.keras cannot be loaded.*\n.*copy"),
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
