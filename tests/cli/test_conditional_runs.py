"""Conditional models from data to exports: batches, pictures, reports, run folders, interpolation."""

import json

import keras
import numpy as np
import parts
import pytest
import tensorflow as tf
from small_models import labelled_model
from small_models import make_conditional as make

import keras_vae as kv
from keras_vae import data, evaluation, export, likelihoods, networks, pictures, posteriors, priors
from keras_vae.conditions import Image
from keras_vae.evaluation import image_restoration
from keras_vae.export import metadata
from keras_vae.export.proof import fresh
from keras_vae.export.proof.fresh import Call
from keras_vae_cli.commands.train import train
from keras_vae_cli.errors import ConfigError
from keras_vae_cli.settings import load as settings_of

N = 24


@pytest.fixture(scope="module")
def x():
    return parts.data(likelihoods.Bernoulli(parts.SHAPE), N)


@pytest.fixture(scope="module")
def labelled():
    return labelled_model()


def test_pictures_and_reports_of_conditional_models(labelled, x, tmp_path):
    c = np.arange(N) % 4
    batches = tf.data.Dataset.from_tensor_slices((x, c)).batch(8)
    written = pictures.all_pictures(labelled, batches, directory=tmp_path)
    names = [path.stem for path in written]
    assert {"samples", "answers", "reconstructions", "interpolations", "traversals", "latent_scatter"} <= set(names)
    report = evaluation.evaluate(labelled, batches, batches, num_samples=5, verbose=False)
    assert report["test"]["aggregate_posterior"] is None
    assert report["test"]["log_likelihood"]["mean"] > report["test"]["elbo"] - 5.0
    assert evaluation.diagnose(labelled, {"image": x, "condition": c}) is not None
    image = make(Image((3, 4, 1)), "conv")
    pictures.answers(image, (x, parts.given(image.condition, N)), n=2, draws=2, path=tmp_path / "image.png")
    assert (tmp_path / "image.png").stat().st_size > 500
    for refused in (
        lambda: pictures.answers(make(None), x),
        lambda: evaluation.linear_probe(labelled, (x, c), (x, c)),
        lambda: labelled.encoder.features_model(),
    ):
        with pytest.raises(ValueError, match="condition"):
            refused()
    varied, same = evaluation.augment(labelled)(x, c)
    assert varied.shape == x.shape and same is c


def test_conditions_from_the_data():
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 6, 3), dtype=np.uint8)
    labels = np.arange(40) % 3
    source = {"images": images, "labels": labels}
    gray = data.read_splits(source, condition="gray", test_split=0.5)
    assert gray.condition == {"name": "Image", "shape": [4, 6, 1]}
    x, c = next(iter(gray.test.dataset(20)))
    expected = np.round(np.asarray(x) * 255 @ [0.299, 0.587, 0.114])
    np.testing.assert_allclose(c[..., 0], expected, atol=1)
    small = data.read_splits(source, condition={"name": "low_resolution", "factor": 2}, test_split=0.5)
    assert small.condition == {"name": "Image", "shape": [2, 3, 3]}
    x, c = next(iter(small.train.dataset(20, shuffle=True)))
    np.testing.assert_allclose(c[:, 0, 0], np.round(255 * np.asarray(x)[:, :2, :2].mean(axis=(1, 2))), atol=1)
    label = data.read_splits(source, condition="label", test_split=0.5)
    assert label.condition == {"name": "Label", "num_classes": 3}
    train, _ = data.load(source, batch_size=8, condition="label")
    assert next(iter(train))[1].shape == (8,)
    for condition, message in {
        "colour": '"label", "gray"',
        "low_resolution": "takes a factor",
        ("low_resolution", 1): ">= 2",
        ("low_resolution", 4): "multiples of it",
    }.items():
        spec = condition if isinstance(condition, str) else dict(zip(("name", "factor"), condition, strict=True))
        with pytest.raises(ValueError, match=message):
            data.load(source, condition=spec)
    with pytest.raises(ValueError, match="not both"):
        data.load(source, condition="gray", labels=True)
    with pytest.raises(ValueError, match="has no labels"):
        data.load(images, condition="label")
    with pytest.raises(ValueError, match="colour images"):
        data.load(images[..., :1], condition="gray")


@pytest.mark.slow
def test_a_run_from_a_config_is_conditional(tmp_path):
    overrides = [
        "data.condition=label",
        "model.latent_dim=2",
        "model.encoder.units=[8]",
        "model.decoder.units=[8]",
        "model.prior=ConditionalNormal",
        "train.epochs=1",
        "train.checkpoint_seconds=0",
        "export.formats=[]",
    ]
    settings = settings_of("digits", overrides)
    train(settings, tmp_path / "run")
    vae = keras.saving.load_model(tmp_path / "run" / "vae.keras")
    assert str(vae.condition) == "Label(10)" and vae.prior.condition == vae.condition
    assert (tmp_path / "run" / "pictures" / "answers.png").is_file()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("data.condition=colour", r"data\.condition\.name"),
        ("data.condition={name: low_resolution}", "takes a factor"),
        ("data.condition={name: gray, size: 3}", "unknown key; allowed: name, columns, factor"),
    ],
)
def test_wrong_conditions_in_a_config_are_named(wrong, message):
    with pytest.raises(ConfigError, match=message):
        settings_of("digits", [wrong])


@pytest.mark.slow
def test_an_export_takes_the_condition_and_answers_unknown_labels_with_nan(labelled, tmp_path):
    names = ["cats | dogs", "```", "猫", "pets"]
    labelled.name_classes(names)
    report = export.to_saved_model(labelled, tmp_path / "decoder")
    assert report.ok and not report.left_out and report.facts["condition"].startswith("Label(4: 'cats | dogs'")
    assert json.loads((report.path / "export.json").read_text())["class_names"] == names
    z = np.random.default_rng(0).normal(size=(3, parts.L)).astype("float32")
    asked = np.array([1, 7, 3], "int32")
    calls = [
        Call("decode", {"z": z, "condition": asked}),
        Call("sample", {"seed": np.zeros((2, 2), "int32"), "condition": asked[[0, 2]]}),
        Call("decode", {"z": z}),
        Call("sample", {"seed": np.zeros((2, 2), "int32"), "condition": asked}),
    ]
    served, sampled, missing, uneven = fresh.run(report.path, calls).results
    np.testing.assert_allclose(
        served.outputs["mean"][[0, 2]], labelled.decode(z[[0, 2]], asked[[0, 2]]).mean(), atol=1e-5
    )
    assert np.isnan(served.outputs["mean"][1]).all()
    assert np.abs(np.subtract(*sampled.outputs["z"])).max() > 1e-3  # one seed, two priors
    assert not missing.ok and uneven.status == "INVALID_ARGUMENT"
    guide = (tmp_path / "decoder" / "SERVING.md").read_text(encoding="utf-8")
    assert '"condition": 0' in guide
    assert json.loads(guide.partition("```json\n")[2].partition("\n```\n")[0]) == dict(zip("0123", names, strict=True))
    assert export.to_tflite(labelled, tmp_path / "decoder.tflite").ok
    assert metadata.read((tmp_path / "decoder.tflite").read_bytes())["class_names"] == names


def test_interpolation_is_as_good_as_its_noise_and_answers_differ():
    random = np.random.default_rng(0)
    c = np.full((80, 2, 2, 1), 0.5, "float32") + 0.1 * random.normal(size=(80, 1, 1, 1)).astype("float32")
    noise = random.logistic(scale=0.05, size=(80, 8, 8, 3))
    x = (np.round(255 * np.clip(c.mean(axis=(1, 2))[:, None, None] + noise, 0, 1)) / 255).astype("float32")
    found = image_restoration.interpolation((x[:40], c[:40]), (x[40:], c[40:]))
    # The entropy of a logistic variable of scale s is log s + 2 nats, in units of 1 / 255.
    assert found.bits_per_dim == pytest.approx((np.log(0.05 * 255) + 2) / np.log(2), abs=0.05)
    assert found.scale == pytest.approx(0.05, rel=0.05)
    assert found.psnr == pytest.approx(-10 * np.log10(0.05**2 * np.pi**2 / 3), abs=0.2)
    with pytest.raises(ValueError, match="conditions that are images"):
        image_restoration.interpolation((x, np.arange(80)), (x, np.arange(80)))
    image = Image((2, 2, 1))
    vae = kv.VAE(
        kv.Encoder(networks.conv([4]), posteriors.MultivariateNormalDiag(2), image),
        kv.Decoder(networks.conv([4]), likelihoods.DiscretizedLogistic((8, 8, 3)), image),
        priors.StandardNormal(2),
    )
    report = image_restoration.compare(vae, (x, c), (x, c))
    assert report["answers"]["spread"] > 0 and report["answers"]["psnr_of_mean"] > report["answers"]["psnr"]


@pytest.mark.parametrize("condition", ["gray", {"name": "low_resolution", "factor": 4}], ids=["gray", "low_resolution"])
def test_the_baseline_of_given_means_knows_them_too(condition):
    random = np.random.default_rng(0)
    smooth = np.cumsum(np.cumsum(random.normal(size=(60, 8, 8, 3)), axis=1), axis=2)
    smooth -= smooth.min(axis=(1, 2, 3), keepdims=True)
    images = np.round(255 * smooth / smooth.max(axis=(1, 2, 3), keepdims=True)).astype("uint8")
    splits = data.read_splits(images, condition=condition, test_split=0.5)
    train, test = splits.train.dataset(10), splits.test.dataset(10)
    plain = image_restoration.interpolation(train, test)
    found = image_restoration.interpolation(train, test, given_means=True)
    assert found.bits_per_dim < plain.bits_per_dim and found.psnr == plain.psnr
    if condition == "gray":
        assert found.consistency < 1e-6 and found.sharpness < 1 and found.psnr_consistent == pytest.approx(found.psnr)
    else:
        assert found.consistency > 1e-3 and found.psnr_consistent > found.psnr
    x, c = (np.concatenate(parts) for parts in zip(*test.as_numpy_iterator(), strict=True))
    assert image_restoration.sharpness(x, x) == 1 and image_restoration.sharpness(x, 0.5 * x) == pytest.approx(0.25)
    assert image_restoration.consistency(x, c / 255) < 0.502 / 255
    assert image_restoration.psnr(x, x + 0.1) == pytest.approx(20) == image_restoration.psnr_per_picture(x, x + 0.1)
    # What is right to a rounding is not known better.
    assert image_restoration.psnr_per_picture(x, x) == pytest.approx(20 * np.log10(255 * np.sqrt(12)))
    image = Image(c.shape[1:])
    vae = kv.VAE(
        kv.Encoder(networks.mlp([4]), posteriors.MultivariateNormalDiag(2), image),
        kv.Decoder(networks.mlp([4]), likelihoods.GivenMeans((8, 8, 3)), image),
        priors.StandardNormal(2),
    )
    report = image_restoration.compare(vae, train, test)
    assert report["answers"]["consistency"] < 1e-5
    assert report["interpolation"]["bits_per_dim"] == pytest.approx(found.bits_per_dim)
    mean = np.mean([vae.sample(len(x), seed=k, condition=c) for k in range(64)], axis=0)
    gain = image_restoration.psnr(x, mean) - found.psnr
    assert report["answers"]["gain"] == pytest.approx(gain, abs=1e-4)
    if condition == "gray":
        errors, of_gray = (np.mean((x - y) ** 2, axis=(1, 2, 3)) for y in (mean, c / 255))
        gains = 10 * np.log10(of_gray / errors)
        assert report["answers"]["gain_per_picture"] == pytest.approx(gains.mean(), abs=1e-3)
        assert report["answers"]["nearer"] == np.mean(gains > 0)
    assert report["answers"]["gain_over_consistent"] == pytest.approx(
        gain + found.psnr - found.psnr_consistent, abs=1e-4
    )
