"""A run that is trained longer, and several that differ in their seed."""

import json
import shutil

import numpy as np
import pytest

import keras_vae as kv
from keras_vae_cli import settings
from keras_vae_cli.commands import build, longer
from keras_vae_cli.errors import ConfigError

SMALL = ["model.latent_dim=2", "model.encoder={name: mlp, units: [8]}", "model.decoder={name: mlp, units: [8]}"]
SMALL += ["model.posterior=MultivariateNormalDiag", "model.prior=StandardNormal", "model.objective=ELBO"]
SMALL += ["model.likelihood=Bernoulli", "data.binarize=threshold", "export.formats=[]"]
RATES = ["train.learning_rate=0.01", "train.final_learning_rate=0.001"]


def rows(run):
    return (run / "history.csv").read_text().splitlines()


def test_the_learning_rate_stays_where_its_decay_has_ended():
    train = settings.load(None, [*RATES, "train.epochs=6", "train.decay_epochs=4"]).train
    rate = build.make_optimizer(train, 10)._learning_rate
    whole = build.make_optimizer(settings.load(None, [*RATES, "train.epochs=4"]).train, 10)._learning_rate
    for step in (0, 20, 39):
        assert float(rate(step)) == float(whole(step))
    assert float(rate(55)) == pytest.approx(0.001)
    with pytest.raises(ConfigError, match="give that too"):
        settings.load(None, ["train.final_learning_rate=null", "train.decay_epochs=4"])


@pytest.mark.slow
def test_more_epochs_follow_as_if_they_had_been_asked_for_at_once(tmp_path, ended):
    """Adam's averages, the learning rate, the order and the best model: all to the bit."""
    whole = [*SMALL, *RATES, "train.epochs=4", "train.decay_epochs=2"]
    assert ended("train", "digits", "--run", tmp_path / "whole", "--set", *whole)[0] == 0
    assert ended("train", "digits", "--run", tmp_path / "run", "--set", *SMALL, *RATES, "train.epochs=2")[0] == 0
    code, out, err = ended("train", "--more", "2", "--run", tmp_path / "run")
    assert code == 0, err
    assert "+  epochs: 4" in out and "resumed from step" in out and "epoch 4/4" in out
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")
    for a, b in zip(*(kv.load(tmp_path / name / "vae.keras").get_weights() for name in ("run", "whole")), strict=True):
        np.testing.assert_array_equal(a, b)
    report = json.loads((tmp_path / "run/report.json").read_text())
    assert report["finished"] and len(report["earlier"]) == 1
    assert settings.load(tmp_path / "run/config.yaml") == settings.load(tmp_path / "whole/config.yaml")


def test_only_a_finished_run_is_trained_longer(digits_run, tmp_path, ended):
    run = tmp_path / "run"
    code, _, err = ended("train", "--more", "2", "--run", run)
    assert code == 2 and "There is no run folder" in err
    code, _, err = ended("train", "--more", "0", "--run", run)
    assert code == 2
    shutil.copytree(digits_run, run)
    code, _, err = ended("train", "--more", "2", "--run", run, "--set", "train.seed=3")
    assert code == 2 and "--more trains a run by its own settings" in err
    (run / "report.json").write_text("{}")
    code, _, err = ended("train", "--more", "2", "--run", run)
    assert code == 2 and f"It goes on by: keras-vae train {run}/config.yaml --run {run}" in err
    # One that was interrupted while it was trained longer has its new epochs already.
    (run / "report.json").write_text(json.dumps({"finished": False, "earlier": [{}]}))
    assert epochs_after(2, run) == [1]
    (run / "report.json").write_text(json.dumps({"finished": True}))
    assert epochs_after(2, run) == [3]
    with pytest.raises(ConfigError, match="--more 3000000000: a run has at most 2,147,483,647 epochs"):
        longer.continued([run], 3_000_000_000)
    code, _, err = ended("train", "mnist", "--more", "2", "--run", run)
    assert code == 2 and "leave out mnist, which would not be read" in err
    text = (run / "config.yaml").read_text().replace("early_stopping: null", "early_stopping: 5")
    (run / "config.yaml").write_text(text.replace("epochs: 1\n", "epochs: 9\n"))
    with pytest.raises(ConfigError, match="was stopped early, after 1 of 9 epochs"):
        longer.continued([run], 2)


def epochs_after(more, *runs):
    return [made.train.epochs for made in longer.continued(runs, more)]


def test_the_same_command_again_adds_to_no_run_twice(digits_run, tmp_path):
    runs = [shutil.copytree(digits_run, tmp_path / f"run_seed_{seed}") for seed in range(3)]
    assert epochs_after(20, *runs) == [21, 21, 21]

    def leave(run, epochs, **report):
        text = (run / "config.yaml").read_text()
        (run / "config.yaml").write_text(text.replace("epochs: 1\n", f"epochs: {epochs}\n"))
        (run / "report.json").write_text(json.dumps(report))

    leave(runs[0], 21, finished=True, earlier=[{}])
    assert epochs_after(20, *runs) == [21, 21, 21]  # interrupted before the second began
    leave(runs[1], 21, finished=False, earlier=[{}])
    assert epochs_after(20, *runs) == [21, 21, 21]
    leave(runs[2], 21, finished=False, earlier=[{}])
    assert epochs_after(20, *runs) == [21, 21, 21]
    for run in runs:
        leave(run, 21, finished=True, earlier=[{}])
    assert epochs_after(20, *runs) == [41, 41, 41]


def test_seeds_are_given_once_and_are_numbers(ended):
    for words, message in (
        (["--seeds", "0", "0"], "different numbers"),
        (["--seeds"], "different numbers"),
        (["--more", "1", "--seeds"], "different numbers"),
        (["--seeds", "0", "0", "--more", "1"], "different numbers"),
        (["--seeds", "-1"], "different numbers"),
        (["--seeds", "1.5"], "is no whole number"),
        (["--seeds", "0", "1", "--set", "train.seed=3"], "both give the seed"),
    ):
        code, out, err = ended("train", *words)
        assert code == 2 and message in out + err
    workers = settings.load(None, ["train.distribute=multi_worker"])
    with pytest.raises(ConfigError, match="one run at a time"):
        longer.train_seeds([(workers, None)])


@pytest.mark.slow
def test_several_seeds_are_the_runs_that_they_would_be_alone(tmp_path, ended, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = ["--set", *SMALL, "train.epochs=1"]
    assert ended("train", *short, "train.seed=1", "--run", "alone")[0] == 0
    code, out, err = ended("train", *short, "--seeds", "0", "1")
    assert code == 0, err
    assert "Seed 1, 2 of 2, in runs/digits_seed_1:" in out and "±" in out
    assert "keras-vae compare runs/digits_seed_0 runs/digits_seed_1" in out
    for name in ("0", "1"):
        same = [
            np.array_equal(a, b)
            for a, b in zip(
                kv.load("alone/vae.keras").get_weights(),
                kv.load(f"runs/digits_seed_{name}/vae.keras").get_weights(),
                strict=True,
            )
        ]
        assert all(same) is (name == "1")
    code, out, _ = ended("train", *short, "--seeds", "0", "1")
    assert code == 0 and out.count("is finished: nothing to do") == 2
    code, out, err = ended("train", "--seeds", "0", "1", "--more", "1")
    assert code == 0 and out.count("resumed from step") == 2, err
