import json
import signal
from pathlib import Path

import pytest
from sources import picture

from keras_vae_cli import settings
from keras_vae_cli.commands import build, run_data
from keras_vae_cli.main import main

MODEL = "{latent_dim: 2, encoder: {name: mlp, units: [8]}, decoder: {name: mlp, units: [8]}, likelihood: %s}"
CLASSES = ("dark", "light", "middle")


@pytest.fixture
def ended(capfd, monkeypatch):
    """Run the command line in this process: its exit code, and what it wrote to stdout and stderr."""
    # The command ends at SIGTERM as at Ctrl-C, and so would the tests.
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def call(*arguments):
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        written = capfd.readouterr()
        assert "Traceback" not in written.err
        return end.value.code, written.out, written.err

    return call


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory) -> Path:
    """A finished run on black and white digits, trained from the command line. To be read only."""
    run = tmp_path_factory.mktemp("runs") / "digits"
    small = ["train.epochs=1", "model.latent_dim=2", "data.binarize=threshold", "model.objective=ELBO"]
    small += ["model.encoder={name: mlp, units: [8]}", "model.decoder={name: mlp, units: [8]}"]
    small += ["model.posterior=MultivariateNormalDiag", "model.prior=StandardNormal", "model.likelihood=Bernoulli"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "signal", lambda *_: None)
        with pytest.raises(SystemExit) as end:
            main(["train", "digits", "--set", *small, "export.formats=[]", "--run", str(run)])
    assert end.value.code == 0
    return run


@pytest.fixture(scope="session")
def left_by_training():
    """A function that makes a run of the text of a config, as training leaves it but for the training."""

    def make(run: Path, text: str) -> Path:
        run.mkdir()
        (run / "config.yaml").write_text(text)
        made = settings.load(run / "config.yaml")
        splits = run_data.open_data(made)
        build.make_vae(made, splits.train.event_shape, splits.condition).save(run / "vae.keras")
        run_data.record(run, made, splits)
        (run / "report.json").write_text(json.dumps({"finished": True}))
        return run

    return make


@pytest.fixture(scope="session")
def labelled_run(tmp_path_factory, left_by_training) -> Path:
    """A run on gray pictures in three class folders, beside it, as training leaves it but for the training."""
    home = tmp_path_factory.mktemp("labelled")
    for label, name in enumerate(CLASSES):
        for k in range(6):
            picture(home / "pictures" / name / f"{k}.png", mode="L", color=50 + 70 * label + k)
    text = f"data: {{path: '{home / 'pictures'}', condition: label, batch_size: 4}}\nmodel: {MODEL % 'Normal'}\n"
    return left_by_training(home / "run", text)
