"""What was saved when every module lay in one folder loads, and a run that was interrupted then goes on.

tests/before_the_move.zip was written by version 0.1.0 at commit ebab5db. It holds models with a joint posterior
(`joint`), of two levels with flows (`ladder`) and with a codebook (`codes`), their reconstructions of two images
(`expected.npz`), and a run of 33 steps (`run`) as it stood after 32, with the model that it ended with
(`finished.keras`).

tests/before_covariances.zip, written at the same commit, holds a model of three latent dimensions with each of the
posteriors whose formula has changed since, and the moments of its q(z|x) (`expected.npz`).
"""

import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_vae as kv
from keras_vae.training.checkpoint_state import meanings, set_meanings
from keras_vae_cli.main import main

TESTS = Path(__file__).parent


@pytest.fixture
def folder(tmp_path):
    with zipfile.ZipFile(TESTS / "before_the_move.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path


@pytest.mark.parametrize("load", [keras.saving.load_model, kv.load])
def test_models_load(load, folder):
    with np.load(folder / "expected.npz") as expected:
        for name in ("joint", "ladder", "codes"):
            vae = load(folder / f"{name}.keras")
            found = vae.reconstruct(expected["x"])
            np.testing.assert_allclose(found[..., 0], expected[name], rtol=1e-5, atol=1e-6)
            vae.fit(expected["x"], epochs=1, verbose=0)


def test_a_run_goes_on(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    changes = [
        "latent_dim=2",
        "encoder.units=[4]",
        "decoder.units=[4]",
        "prior=NormalMixture",
        "prior.num_components=2",
    ]
    changes = [f"model.{change}" for change in [*changes, "likelihood=Bernoulli"]] + ["data.binarize=dynamic"]
    changes += ["train.epochs=3", "train.checkpoint_seconds=0", "train.checkpoint_steps=5", "export.formats=[]"]
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["train", "--run", "run", "--set", *changes])
    assert "resumed from step 32 (2 epochs and 10 steps)" in capsys.readouterr().out
    ended, expected = (kv.load(folder / name) for name in ("run/vae.keras", "finished.keras"))
    for found, weight in zip(ended.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(found, weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["tril", "eigen", "low_rank", "kumaraswamy"])
def test_posteriors_mean_what_they_did(name, tmp_path):
    with zipfile.ZipFile(TESTS / "before_covariances.zip") as archive:
        archive.extractall(tmp_path)
    with np.load(tmp_path / "expected.npz") as expected:
        x, mean, second = (expected[key] for key in ("x", f"{name}_mean", name))
    vae = kv.load(tmp_path / f"{name}.keras")
    vae.save(tmp_path / "again.keras")
    for found in (vae, kv.load(tmp_path / "again.keras")):
        q = found.encode(x)
        moments = q.variance() if name == "kumaraswamy" else q.covariance()
        np.testing.assert_allclose(q.mean(), mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(moments, second, rtol=1e-3, atol=1e-5)
    vae.fit(x, epochs=1, verbose=0)


def test_a_revision_is_kept_inside_of_others():
    for revision in (1, 2):
        base = kv.posteriors.MultivariateNormalTriL(3)
        base.revision = revision
        joint = kv.posteriors.JointPosterior(base, kv.posteriors.RelaxedOneHot(2))
        assert type(joint).from_config(joint.get_config()).continuous.revision == revision
        flow = kv.posteriors.Flow(base)
        assert type(flow).from_config(flow.get_config()).base.revision == revision


def test_weights_mean_what_they_did_in_a_model_that_takes_them_over(tmp_path):
    with zipfile.ZipFile(TESTS / "before_covariances.zip") as archive:
        archive.extractall(tmp_path)
    with np.load(tmp_path / "expected.npz") as expected:
        x, second = expected["x"], expected["tril"]
    old = kv.load(tmp_path / "tril.keras")
    config = old.get_config()
    config["encoder"]["config"]["posterior"]["config"]["revision"] = 2
    new = kv.VAE.from_config(config)
    new.build()
    new.set_weights(old.get_weights())
    assert np.abs(new.encode(x).covariance() - second).max() > 0.01
    set_meanings(new, meanings(old))
    np.testing.assert_allclose(new.encode(x).covariance(), second, rtol=1e-3, atol=1e-5)


def test_a_checkpoint_says_what_its_weights_mean(tmp_path):
    x = np.random.default_rng(0).random((32, 4, 4, 1), "float32").round()

    def make(revision):
        vae = kv.VAE(
            kv.Encoder(kv.networks.mlp([8]), kv.posteriors.MultivariateNormalTriL(3)),
            kv.Decoder(kv.networks.mlp([8]), kv.likelihoods.Bernoulli((4, 4, 1))),
            kv.priors.StandardNormal(3),
            seed=0,
        )
        vae.encoder.posterior.revision = revision
        vae.compile(optimizer="adam")
        return vae

    for revision in (1, 2):
        folder = tmp_path / str(revision)
        make(revision).fit(x, epochs=1, batch_size=16, verbose=0, callbacks=[kv.callbacks.Checkpoints(folder)])
        goes_on = make(2)
        goes_on.fit(x, epochs=2, batch_size=16, verbose=0, callbacks=[kv.callbacks.Checkpoints(folder)])
        assert goes_on.encoder.posterior.revision == revision


def test_a_later_revision_is_refused():
    config = kv.posteriors.Kumaraswamy(2).get_config() | {"revision": 3}
    with pytest.raises(ValueError, match=r"saved by another version .* \(revision 3; this version knows 2\)"):
        kv.posteriors.Kumaraswamy.from_config(config)
