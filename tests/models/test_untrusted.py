"""Files of strangers: models and configs that were made to do harm."""

import base64
import io
import itertools
import json
import marshal
import os
import resource
import zipfile

import h5py
import keras
import numpy as np
import parts
import pytest

import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors, priors
from keras_vae.models.untrusted import UnsafeFile

HUGE = 10**9


def make(posterior=None, prior=None, likelihood=None, network=networks.mlp):
    likelihood = likelihood or likelihoods.Bernoulli(parts.SHAPE)
    posterior = posterior or posteriors.MultivariateNormalDiag(parts.L)
    is_plain = isinstance(posterior, posteriors.Deterministic)
    if prior is None:
        prior = priors.Uniform(parts.L) if isinstance(posterior, posteriors.Kumaraswamy) else None
    return kv.VAE(
        kv.Encoder(network([4]), posterior),
        kv.Decoder(network([4]), likelihood),
        prior or priors.StandardNormal(parts.L),
        objectives.Reconstruction() if is_plain else None,
        seed=2**31 - 1,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The members of a good file."""
    path = tmp_path_factory.mktemp("models") / "vae.keras"
    vae = make(prior=priors.RealNVP(parts.L, num_layers=2, units=(8,)))
    vae.compile("adam")
    vae.build()
    vae.optimizer.build(vae.trainable_variables)
    vae.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def edited(members, edit):
    """The members with `edit` applied to every mapping of the config."""

    def walk(value):
        if isinstance(value, dict):
            return edit({key: walk(inner) for key, inner in value.items()})
        return [walk(inner) for inner in value] if isinstance(value, list) else value

    return {**members, "config.json": json.dumps(walk(json.loads(members["config.json"])))}


def with_value(key, value):
    return lambda config: {**config, key: value} if key in config else config


def layer(kind, module="keras.layers", /, **config):
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def as_network(network):
    return lambda config: {**config, "network": network} if "network" in config else config


def function(module, name):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def dense(**options):
    return layer(
        "Sequential",
        "keras",
        name="s",
        layers=[layer("InputLayer", batch_shape=[None, 6, 5, 2]), layer("Flatten"), layer("Dense", **options)],
    )


LAMBDA = {
    "class_name": "__lambda__",
    "config": {"value": [base64.b64encode(marshal.dumps((lambda x: x).__code__)).decode(), None, None]},
}

CONFIGS = {
    "huge latent_dim": (with_value("latent_dim", HUGE), "latent_dim"),
    "huge event_shape": (with_value("event_shape", [10**6, 10**6, 1]), "event_shape"),
    "a huge shape to build": (with_value("input_shape", [None, 10**6, 10**6, 1]), "input_shape"),
    "many small sides": (with_value("event_shape", [2**10] * 5), "event_shape"),
    "endless layers": (with_value("num_layers", 50_000), "num_layers"),
    "huge layer": (as_network(dense(units=HUGE)), "units"),
    "a layer larger than the weights": (as_network(dense(units=60_000)), "weights"),
    "Lambda layer": (as_network(layer("Lambda", function=LAMBDA)), "holds code"),
    "lambda": (as_network(dense(units=2, activation=LAMBDA)), "holds code"),
    "another model's graph": (as_network(layer("TFSMLayer", filepath="/tmp")), "holds code"),
    "a local file": (as_network(layer("StringLookup", vocabulary="/etc/passwd")), "reads other files"),
    "os.system": (as_network(dense(units=2, activation=function("os", "system"))), "os.system is neither"),
    "eval": (as_network(dense(units=2, activation=function("builtins", "eval"))), "cannot be loaded"),
    "subprocess": (as_network(layer("Popen", "subprocess", args=["touch", "harm"])), "subprocess.Popen is neither"),
    "a download": (as_network(dense(units=2, activation=function("keras.utils", "get_file"))), "no part of a model"),
    "data sets": (as_network(dense(units=2, activation=function("keras.datasets.mnist", "load_data"))), "no part"),
    "settings": (as_network(function("keras.config", "enable_unsafe_deserialization")), "no part of a model"),
    "a huge element": (
        as_network({"class_name": "__numpy__", "config": {"value": 0, "dtype": f"V{HUGE}"}}),
        "no array of numbers",
    ),
}


@pytest.mark.parametrize("what", CONFIGS)
def test_configs_that_do_harm_are_refused_by_name(saved, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    edit, message = CONFIGS[what]
    path = write(tmp_path / "vae.keras", edited(saved, edit))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnsafeFile, match=message) as raised:
        kv.load(path)
    assert "vae.keras" in str(raised.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KB
    assert sorted(p.name for p in tmp_path.iterdir()) == ["vae.keras"]


@pytest.mark.parametrize(
    "what", ["Lambda layer", "lambda", "os.system", "eval", "subprocess", "a download", "settings"]
)
def test_keras_own_loader_executes_nothing_either(saved, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "vae.keras", edited(saved, CONFIGS[what][0]))
    with pytest.raises((ValueError, TypeError)):
        keras.saving.load_model(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["vae.keras"]


def weights(fill):
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        fill(file)
    return stream.getvalue()


def loop(file):
    file.create_group("a")["b"] = file["/"]


ARCHIVES = {
    "bomb": (lambda m: {**m, "model.weights.h5": bytes(2**27)}, "grows from"),
    "bomb in the config": (lambda m: {**m, "config.json": b" " * 2**27}, "grows from"),
    "more members": (lambda m: {**m, "../../harm.py": "import os"}, "it holds"),
    "pickle": (lambda m: {**m, "assets/weights.pkl": "cos\nsystem\n"}, "it holds"),
    "no weights": (lambda m: {"config.json": m["config.json"], "metadata.json": "{}"}, "it holds"),
    "deep": (lambda m: {**m, "config.json": "[" * 100_000 + "]" * 100_000}, "cannot be loaded"),
    "a list": (lambda m: {**m, "config.json": "[]"}, "no mapping"),
    "no HDF5": (lambda m: {**m, "model.weights.h5": b"nonsense"}, "damaged"),
    "declared, not stored": (
        lambda m: {**m, "model.weights.h5": weights(lambda f: f.create_dataset("v", (10**6, 10**6), chunks=(8, 8)))},
        "more than the file can hold",
    ),
    "links": (
        lambda m: {**m, "model.weights.h5": weights(lambda f: f.update({"v": h5py.ExternalLink("/etc/passwd", "/")}))},
        "is a link",
    ),
    "loop": (lambda m: {**m, "model.weights.h5": weights(loop)}, "contain each other"),
    "objects": (
        lambda m: {**m, "model.weights.h5": weights(lambda f: f.update({"v": np.array([b"a"], dtype=object)}))},
        "no array of numbers",
    ),
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_archives_that_do_harm_are_refused_by_name(saved, tmp_path, what):
    edit, message = ARCHIVES[what]
    compression = zipfile.ZIP_STORED if what == "deep" else zipfile.ZIP_DEFLATED
    path = write(tmp_path / "vae.keras", edit(saved), compression)
    with pytest.raises(UnsafeFile, match=message):
        kv.load(path)


def test_files_that_are_no_archives_are_refused_by_name(saved, tmp_path):
    whole = write(tmp_path / "vae.keras", saved)
    assert isinstance(kv.load(whole), kv.VAE)
    with pytest.raises(UnsafeFile, match="max_bytes"):
        kv.load(whole, max_bytes=1000)
    content = whole.read_bytes()
    for name, damaged in (("empty", b""), ("half", content[: len(content) // 2]), ("text", b"no model")):
        path = tmp_path / f"{name}.keras"
        path.write_bytes(damaged)
        with pytest.raises(UnsafeFile, match=name):
            kv.load(path)
    os.mkfifo(tmp_path / "pipe.keras")
    with pytest.raises(UnsafeFile, match="regular file"):
        kv.load(tmp_path / "pipe.keras")
    with pytest.raises(FileNotFoundError):
        kv.load(tmp_path / "nowhere.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    with pytest.raises(UnsafeFile, match="no VAE"):
        kv.load(tmp_path / "other.keras")


def own_network(sizes):
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(8, "silu"), keras.layers.Dropout(0.1)])


def test_every_part_is_loaded(tmp_path):
    rows = zip(
        parts.POSTERIORS.items(),
        parts.LIKELIHOODS.values(),
        itertools.cycle([networks.mlp, networks.conv, networks.residual, own_network]),
        strict=False,
    )
    models = [make(part(), parts.prior_of(name), likelihood(), network) for (name, part), likelihood, network in rows]
    models += [make(prior=part()) for name, part in parts.PRIORS.items() if name not in parts.PRIOR_OF.values()]
    plain = make()
    arguments = (plain.encoder, plain.decoder, plain.prior)
    models += [
        kv.FactorVAE(*arguments, discriminator_units=(4, 4), discriminator_learning_rate=1e-3),
        kv.CascadeVAE(*arguments, num_classes=None),
        kv.VAE(*arguments, objectives.TotalCorrelation(10**6)),
    ]
    for number, vae in enumerate(models):
        path = tmp_path / f"{number}.keras"
        vae.save(path)
        for a, b in zip(vae.get_weights(), kv.load(path).get_weights(), strict=True):
            if a.shape:  # but for the counts, of which `adapted` is set by loading
                np.testing.assert_array_equal(a, b)
