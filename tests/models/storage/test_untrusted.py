"""Files of strangers: models and configs that were made to do harm."""

import base64
import io
import itertools
import json
import marshal
import os
import resource
import subprocess
import sys
import textwrap
import zipfile

import h5py
import keras
import numpy as np
import parts
import pytest

import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors, priors
from keras_vae.models.storage.model_files import CHECKSUMS
from keras_vae.models.storage.untrusted import UnsafeFile
from keras_vae.schedules import Linear

HUGE = 10**9


def make(posterior=None, prior=None, likelihood=None, network=networks.mlp, objective=None):
    likelihood = likelihood or likelihoods.Bernoulli(parts.SHAPE)
    posterior = posterior or posteriors.MultivariateNormalDiag(parts.L)
    is_plain = isinstance(posterior, posteriors.Deterministic)
    if prior is None:
        prior = priors.Uniform(parts.L) if isinstance(posterior, posteriors.Kumaraswamy) else None
    return kv.VAE(
        kv.Encoder(network([4]), posterior),
        kv.Decoder(network([4]), likelihood),
        prior or priors.StandardNormal(parts.L),
        objectives.Reconstruction() if is_plain else objective,
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

    return {**unsealed(members), "config.json": json.dumps(walk(json.loads(members["config.json"])))}


def unsealed(members):
    """The members as plain Keras would have written them: whoever changes one can leave out its checksum."""
    return {name: content for name, content in members.items() if name != CHECKSUMS}


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


def part(kind, /, **config):
    return {"module": "keras_vae", "class_name": kind, "config": config, "registered_name": f"keras_vae>{kind}"}


def sequential(*layers, shape=parts.SHAPE):
    return layer("Sequential", "keras", name="s", layers=[layer("InputLayer", batch_shape=[None, *shape]), *layers])


def at(**values):
    """An edit that puts values in place of what stands under these names, wherever they do."""
    return lambda config: {**config, **{name: value for name, value in values.items() if name in config}}


def as_body(*layers):
    """An edit that gives the encoder these layers."""
    encoder = {"network": sequential(*layers)}
    return lambda config: {**config, **encoder} if {"network", "posterior"} <= set(config) else config


def as_way_up(*layers):
    """An edit that gives the decoder these layers between z, as a map of one pixel, and the size of the data."""
    ends = layer("Reshape", target_shape=[1, 1, parts.L]), layer("Resizing", height=6, width=5)
    decoder = {"network": sequential(ends[0], *layers, ends[1], shape=(parts.L,))}
    return lambda config: {**config, **decoder} if {"network", "likelihood"} <= set(config) else config


N = 20_000
FLAT, SPREAD = layer("Flatten"), layer("Reshape", target_shape=[30, 2])
DIAG = part("MultivariateNormalDiag", latent_dim=parts.L)
FLOW = {"base_posterior": DIAG, "num_layers": 2, "context_size": 0}
# Files of a few kB, of models that would take gigabytes.
SIZES = {
    "flow": at(posterior=part("Flow", kind="iaf", units=[N, N], **FLOW)),
    "context": at(posterior=part("Flow", kind="coupling", units=[4], **{**FLOW, "context_size": HUGE})),
    "triangle": at(posterior=part("MultivariateNormalTriL", latent_dim=6000)),
    "mlp": at(network=part("MLP", units=[N, N])),
    "coupling layers": at(prior=part("RealNVP", latent_dim=parts.L, units=[N, N])),
    "latents of a flow": at(prior=part("RealNVP", latent_dim=HUGE, num_layers=2, units=[4])),
    "endless flow": at(prior=part("RealNVP", latent_dim=parts.L, num_layers=10**6, units=[4])),
    "endless transformer": at(prior=part("AutoregressiveCodes", latent_dim=4, grid=[2, 2], num_layers=10**7)),
    "endless blocks": at(network=part("Residual", filters=[4], blocks=10**7)),
    "mixture": at(prior=part("NormalMixture", latent_dim=parts.L, num_components=HUGE)),
    "pseudo-inputs": at(prior=part("VampPrior", latent_dim=parts.L, num_pseudo_inputs=10**7)),
    "levels": at(likelihood=part("Categorical", event_shape=[*parts.SHAPE], levels=HUGE)),
    "counts": at(likelihood=part("Binomial", event_shape=[*parts.SHAPE], total_count=HUGE)),
    "components": at(likelihood=part("DiscretizedLogisticMixture", event_shape=[*parts.SHAPE], num_components=HUGE)),
    "draws": at(objective=part("ELBO", num_samples=HUGE)),
    "labels": at(condition=part("Label", num_classes=HUGE)),
    "embedding": as_body(FLAT, layer("Embedding", input_dim=N, output_dim=N), FLAT),
    "convolution": as_body(layer("Conv2D", filters=N, kernel_size=[3, 3]), layer("GlobalAveragePooling2D")),
    "depthwise": as_body(layer("DepthwiseConv2D", kernel_size=[3, 3], depth_multiplier=10**7), FLAT),
    "recurrent": as_body(SPREAD, layer("Bidirectional", layer=layer("LSTM", units=N))),
    "attention": as_body(SPREAD, layer("GroupQueryAttention", head_dim=N, num_query_heads=4, num_key_value_heads=2)),
    "low rank": as_body(FLAT, layer("Dense", units=4, lora_rank=HUGE)),
    "orthogonal": as_body(FLAT, layer("Dense", units=N, kernel_initializer=layer("Orthogonal", "keras.initializers"))),
    "padding": as_body(layer("ZeroPadding2D", padding=[[N, N], [N, N]]), layer("GlobalAveragePooling2D")),
    "resizing": as_body(layer("Resizing", height=N, width=N), layer("GlobalAveragePooling2D")),
    "cropping": as_body(layer("Cropping2D", cropping=[[N, N], [N, N]]), FLAT),
    "repeated": as_body(FLAT, layer("RepeatVector", n=10**8), layer("GlobalAveragePooling1D")),
    "reshaped": as_body(layer("Reshape", target_shape=[N, N])),
    "one-hot": as_body(FLAT, layer("CategoryEncoding", num_tokens=HUGE)),
    "transposed": as_way_up(layer("Conv2DTranspose", filters=1, kernel_size=[1, 1], strides=[N, N])),
    "repeated rows": as_way_up(layer("UpSampling2D", size=[N, N])),
    "interpolated": as_way_up(layer("UpSampling2D", size=[N, N], interpolation="bilinear")),
    "thresholds": at(network=layer("AUC", "keras.metrics", num_thresholds=HUGE)),
    "optimizer": at(optimizer=layer("MeanIoU", "keras.metrics", num_classes=N)),
}


@pytest.mark.parametrize("names", [[1, 2], "ab", ["a"], ["a", "a"], ["a", "b\x1b[2J"], ["a", "b" * 10**6]])
def test_names_of_classes_are_looked_at(saved, tmp_path, names):
    edit = at(condition=part("Label", num_classes=2, names=names))
    path = write(tmp_path / "vae.keras", edited(saved, edit), zipfile.ZIP_DEFLATED)
    with pytest.raises(UnsafeFile, match="names") as error:
        kv.load(path)
    assert len(str(error.value)) < 500 and "\x1b" not in str(error.value)


def test_sizes_are_computed_and_not_allocated(saved, tmp_path):
    for name, edit in SIZES.items():
        write(tmp_path / f"{name}.keras", edited(saved, edit), zipfile.ZIP_DEFLATED)
    write(tmp_path / "good.keras", saved)
    program = """
        import resource, sys
        import keras_vae as kv
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        kv.load("good.keras")
        start = peak()
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + 2**31
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for name in sys.argv[1:]:
            try:
                kv.load(f"{name}.keras")
                print(name, "was loaded")
            except kv.models.storage.untrusted.UnsafeFile as error:
                if not str(error).startswith(f"{name}.keras ") or "\\n" in str(error):
                    print(name, "is refused by", error)
            if peak() - start > 200:
                print(name, "took", peak() - start, "MB")
    """
    command = [sys.executable, "-c", textwrap.dedent(program), *SIZES]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.returncode) == ("", 0), ended.stderr[-2000:]


CONFIGS = {
    "huge latent_dim": (with_value("latent_dim", HUGE), "asks for"),
    "huge event_shape": (with_value("event_shape", [10**6, 10**6, 1]), "asks for"),
    "a huge shape to build": (with_value("input_shape", [None, 10**6, 10**6, 1]), "asks for"),
    "many small sides": (with_value("event_shape", [2**10] * 5), "asks for"),
    "endless layers": (with_value("num_layers", 50_000), "50,000 layers"),
    "huge layer": (as_network(dense(units=HUGE)), "asks for"),
    "a layer larger than the weights": (as_network(dense(units=60_000)), "asks for"),
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
    path = write(tmp_path / "vae.keras", edit(unsealed(saved)), compression)
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
        kv.VAEGAN(*arguments, filters=(4, 4), patience=7),
        kv.CascadeVAE(*arguments, num_classes=None),
        kv.VAE(*arguments, objectives.TotalCorrelation(10**6)),
    ]
    for number, vae in enumerate(models):
        path = tmp_path / f"{number}.keras"
        vae.save(path)
        for a, b in zip(vae.get_weights(), kv.load(path).get_weights(), strict=True):
            if a.shape:  # but for the counts, of which `adapted` is set by loading
                np.testing.assert_array_equal(a, b)


def test_what_was_trained_is_loaded_whatever_the_numbers_in_its_config(tmp_path):
    models = {
        "weight": make(objective=objectives.MMD(mmd_weight=100_000)),
        "schedule": make(objective=objectives.ELBO(kl_weight=Linear(10**7))),
        "count": make(objective=objectives.TotalCorrelation(num_examples=10**9)),
        "pseudo-inputs": make(prior=priors.VampPrior(parts.L, 500)),
        "wide": make(network=lambda sizes: networks.mlp([70_000])),
        "rate": make(),
    }
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([10**6, 10**8], [1e-3, 1e-4, 1e-5])
    models["rate"].compile(keras.optimizers.Adam(rate), steps_per_execution=100_000)
    for name, vae in models.items():
        vae.save(tmp_path / f"{name}.keras")
        np.testing.assert_array_equal(kv.load(tmp_path / f"{name}.keras").sample(2, seed=0), vae.sample(2, seed=0))


def test_a_model_whose_examples_need_more_than_usual_is_loaded_when_asked_to(tmp_path):
    large = keras.Sequential([keras.layers.UpSampling2D(200), keras.layers.GlobalAveragePooling2D()])
    vae = kv.VAE(
        kv.Encoder(large, posteriors.MultivariateNormalDiag(parts.L)),
        kv.Decoder(networks.mlp([4]), likelihoods.Bernoulli(parts.SHAPE)),
        priors.StandardNormal(parts.L),
    )
    path = tmp_path / "vae.keras"
    vae.save(path)
    needed = 200 * 200 * 60
    with pytest.raises(UnsafeFile, match=f"one example needs {needed:,} numbers at once, .*max_values"):
        kv.load(path, max_values=needed - 1)
    assert isinstance(kv.load(path, max_values=needed), kv.VAE)


def test_what_is_damaged_is_never_loaded_with_other_weights(saved, tmp_path):
    """Whoever copies an archive anew gives its members right CRCs, whatever they have become."""
    path, random = tmp_path / "vae.keras", np.random.default_rng(0)
    for name in [*["model.weights.h5"] * 300, *["config.json"] * 50, *[CHECKSUMS] * 50]:
        content = bytearray(saved[name])
        content[random.integers(len(content))] ^= 1 << int(random.integers(8))
        write(path, {**saved, name: bytes(content)})
        with pytest.raises(UnsafeFile, match=r"vae.keras (is damaged|cannot be loaded)"):
            kv.load(path)
    whole, expected = write(path, saved).read_bytes(), kv.load(path).get_weights()
    ends = [*range(200), *range(len(whole) - 400, len(whole))]
    for place in [*random.choice(ends, 30), *random.integers(len(whole), size=30)]:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        try:
            found = kv.load(path).get_weights()
        except UnsafeFile:
            continue
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_keras_loads_what_has_checksums_and_the_rest_is_loaded_without(saved, tmp_path):
    assert CHECKSUMS in saved
    expected = keras.saving.load_model(write(tmp_path / "with.keras", saved)).get_weights()
    for a, b in zip(kv.load(write(tmp_path / "without.keras", unsealed(saved))).get_weights(), expected, strict=True):
        np.testing.assert_array_equal(a, b)
