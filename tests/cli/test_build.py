"""YAML to checked settings to parts."""

import shutil
from pathlib import Path

import keras
import pytest
from rich.console import Console

from keras_vae import export
from keras_vae_cli import catalogue, settings
from keras_vae_cli.commands import build, run_folder
from keras_vae_cli.commands.train import _Session
from keras_vae_cli.errors import ConfigError


@pytest.mark.parametrize(
    "override, message",
    [
        ("train.epochs=abc", r"train\.epochs: .*integer.*'abc'"),
        ("train.epochs=0", r"train\.epochs: .*greater than 0"),
        ("train.epochs=true", r"train\.epochs: .*integer"),
        ("train.lr=1", r"train\.lr: unknown key; did you mean train\.learning_rate\? allowed: epochs, .*learning_rate"),
        ("train.epoch=1", r"did you mean train.epochs"),
        ("trainer.epochs=1", r"trainer: unknown key; .*train"),
        ("data.binarize=yes please", r"data\.binarize: .*'dynamic'.*not 'yes please'"),
        ("data.validation_split=1.5", r"data\.validation_split: .*less than 1"),
        ("model.posterior=MultivariateNormalTrill", r"did you mean 'MultivariateNormalTriL'.*allowed: "),
        ("model.posterior.latent_dim=3", r"model\.latent_dim"),
        ("model.encoder.units=[3, x]", r"model\.encoder: units must be a list of ints.*\[3, 'x'\]"),
        ("model.encoder.widths=[3]", r"mlp has no argument 'widths'; .*allowed: units, activation"),
        ("model.encoder=conv", r"conv needs the argument 'filters'"),
        ("model.objective.free_bits=many", r"free_bits must be a number"),
        (
            "model.objective.kl_weight={name: Linear, stepss: 3}",
            r"Linear has no argument 'stepss'; did you mean 'steps'",
        ),
        ("train.reduce_on_plateau=3", r"train: give either final_learning_rate or reduce_on_plateau"),
        ("train.gradient_clip_norm=0", r"train\.gradient_clip_norm: .*greater than 0"),
        ("model.latent_dim", r"--set takes key=value"),
        ("=3", r"--set takes key=value"),
        ("data.name.x.y=[", "not a YAML value"),
        ("data.batch_size.x=1", "which has no keys"),
    ],
)
def test_what_is_wrong_is_named(override, message):
    with pytest.raises(ConfigError, match=message):
        settings.load(None, [override])


@pytest.mark.parametrize(
    "text, message",
    [
        ("data: [", "not a YAML file"),
        ("just words", "must hold the sections data, model"),
        ("data: {name: digits, name: mnist}", "the key 'name' stands twice"),
        ("model: {latent_dim: 3}", "data: is missing"),
        ("data: {name: digits, path: x}", "either name .* or path"),
        ("data: {}", "either name .* or path"),
        ("data: {name: digits}\nmodel: {prior: !!python/object/apply:os.system [ls]}", "not a YAML file"),
    ],
)
def test_files_that_are_wrong(tmp_path, text, message):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        settings.load(path)


def test_a_file_that_is_missing_names_what_there_is():
    with pytest.raises(ConfigError, match=r"'nowhere\.yaml'.*digits"):
        settings.load("nowhere.yaml")


def test_overrides_work_with_any_config():
    changed = settings.load(
        "image_folder",
        [
            "data.path=elsewhere",
            "model.posterior=MultivariateNormalTriL",
            "train.learning_rate=1e-2",
            "model.objective={name: ELBO, kl_weight: 2}",
            "model.objective.free_bits=1.0",
        ],
    )
    assert changed.data.path == "elsewhere"
    assert changed.model.posterior == {"name": "MultivariateNormalTriL"}
    assert changed.train.learning_rate == 0.01
    assert changed.model.objective == {"name": "ELBO", "kl_weight": 2, "free_bits": 1.0}
    assert settings.load(None, ["data.path=mine"]).data.name is None


def test_every_value_is_written_and_read_back(tmp_path):
    first = settings.load("mnist", ["train.seed=5", "data.resize=[14, 14]"])
    (tmp_path / "config.yaml").write_text(first.as_yaml())
    assert build.read(tmp_path) == first
    assert "checkpoint_seconds" in first.as_yaml()


@pytest.mark.parametrize("path", sorted(catalogue.configs_folder().rglob("*.yaml")), ids=lambda p: p.stem)
def test_the_configs_of_the_package_make_models(path):
    loaded = settings.load(path)
    data = loaded.data
    shape = (32, 32, 3) if data.path or data.resize or data.name == "cifar10" else (28, 28, 1)
    given = {"label": {"name": "Label", "num_classes": 10}, "image": {"name": "Image", "shape": [8, 8, 1]}}
    if loaded.model.likelihood["name"] == "Mixed":
        loaded, shape = settings.load(path, ["data.schema={a: real, b: count}"]), (2,)
    kind = None if loaded.data.condition is None else "label" if loaded.data.condition.name == "label" else "image"
    vae = build.make_vae(loaded, shape, given.get(kind))
    vae.build()
    assert vae.count_params() > 0
    head = path.read_text().split("\ndata:")[0]
    assert "keras-vae train" in head and all(line.startswith("#") for line in head.splitlines())


def test_the_catalogue_is_what_can_be_imported():
    for kind, parts in catalogue.parts().items():
        assert parts, kind
        for part in parts.values():
            made = getattr(__import__(part.module, fromlist=[part.name]), part.name)
            assert callable(made)
    assert {a.name for a in catalogue.parts()["likelihood"]["Normal"].arguments} == {"event_shape", "scale"}


def test_parts_inside_parts_are_made():
    spec = {"name": "ELBO", "kl_weight": {"name": "Linear", "steps": 7}}
    assert build.make_part("objective", settings.check_part("objective", spec)).kl_weight.steps == 7
    base = {"name": "MultivariateNormalLowRank", "rank": 1}
    spec = {"name": "Flow", "base_posterior": base, "kind": "coupling", "units": [8]}
    flow = build.make_part("posterior", settings.check_part("posterior", spec), latent_dim=3)
    assert (flow.latent_dim, flow.base.rank) == (3, 1)


def test_the_optimizer_follows_the_settings():
    train = settings.load(
        None, ["train.epochs=10", "train.optimizer=adamw", "train.optimizer_arguments.beta_1=0.5"]
    ).train
    optimizer = build.make_optimizer(train, steps_per_epoch=20)
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert optimizer.beta_1 == 0.5
    schedule = optimizer._learning_rate
    assert float(schedule(0)) == pytest.approx(train.learning_rate)
    assert float(schedule(200)) == pytest.approx(train.final_learning_rate)


def test_muon_is_for_the_kernels_of_hidden_layers(tmp_path):
    chosen = settings.load(None, ["train.optimizer=muon", "model.prior={name: NormalMixture, num_components: 3}"])
    vae = _Session(chosen, run_folder.open_data(chosen), tmp_path, Console()).vae
    vae.prepare_to_learn()
    assert isinstance(vae.optimizer, keras.optimizers.Muon)
    hidden = [v for v in vae.trainable_variables if not vae.optimizer._should_use_adamw(v)]
    layers = [*vae.encoder.body.layers, *vae.decoder.body.layers]
    assert {id(v) for v in hidden} == {id(layer.kernel) for layer in layers if hasattr(layer, "kernel")}
    assert len(hidden) >= 4


@pytest.mark.parametrize("compiled", ["true", "auto"])
def test_precision_compilation_and_gradients_follow_the_settings(tmp_path, compiled):
    changes = ["precision=mixed_float16", f"jit_compile={compiled}", "gradient_clip_norm=3", "gradient_skip_norm=5"]
    chosen = settings.load(None, [f"train.{change}" for change in changes])
    keras.config.set_dtype_policy(chosen.train.precision)
    vae = _Session(chosen, run_folder.open_data(chosen), tmp_path, Console()).vae
    assert vae.encoder.body.layers[-1].compute_dtype == "float16"
    assert isinstance(vae.optimizer, keras.optimizers.LossScaleOptimizer)
    assert vae.jit_compile is (compiled == "true")  # Keras's "auto" leaves CPUs alone
    assert vae.optimizer.inner_optimizer.global_clipnorm == 3
    assert vae.gradient_skip_norm == 5


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!python/object/apply:os.system ['touch harm']", "not a YAML file"),
        ("data: !!python/name:os.system", "not a YAML file"),
        ("data: !!python/object/new:os.system ['touch harm']", "not a YAML file"),
        (LAUGHS, "more than 10,000 values"),
        ("data: &a {name: digits, path: *a}", "inside what it stands for"),
        ("[" * 2_000, "not a YAML file"),
        ("data: {name: digits}\n" + "# x\n" * 30_000, "more than 100,000 bytes"),
    ],
)
def test_a_config_of_a_stranger_executes_nothing_and_stays_small(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        settings.load(path)
    assert [p.name for p in tmp_path.iterdir()] == ["config.yaml"]


def test_a_config_may_use_aliases(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "data: {name: digits}\nmodel: {encoder: &net {name: mlp, units: [8]}, decoder: *net, latent_dim: 2}"
    )
    assert settings.load(path).model.decoder == {"name": "mlp", "units": [8]}


@pytest.mark.parametrize("form", ["installed", "checkout without links", "source distribution"])
def test_parts_and_configs_are_found_in_every_form_of_the_package(tmp_path, monkeypatch, form):
    """Installed, exports and configs are no links; git may write files in their place; an sdist has neither."""
    kept, configs = catalogue.package_folder(), catalogue.configs_folder()
    expected, known = catalogue.parts(), sorted(path.name for path in configs.rglob("*.yaml"))
    package, links = tmp_path / "keras_vae", {"export": Path(export.__file__).parent, "configs": configs}
    shutil.copytree(kept, package, ignore=shutil.ignore_patterns("__pycache__", *links))
    for name, folder in links.items():
        shutil.copytree(folder, (package if form == "installed" else tmp_path) / name)
        if form == "checkout without links":
            (package / name).write_text(f"../{name}")
    assert (package / "export" / "proof").is_dir() == (form == "installed")
    monkeypatch.setattr(catalogue, "package_folder", lambda: package)
    catalogue.parts.cache_clear()
    try:
        assert catalogue.parts() == expected
        assert sorted(path.name for path in catalogue.configs_folder().rglob("*.yaml")) == known
        assert settings.find("digits").is_relative_to(tmp_path)
    finally:
        catalogue.parts.cache_clear()


def test_a_name_that_occurs_twice_is_refused(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text("@register\nclass Twice(Posterior):\n    pass\n")
    monkeypatch.setattr(catalogue, "package_folder", lambda: tmp_path)
    catalogue.parts.cache_clear()
    try:
        with pytest.raises(RuntimeError, match=r"Two classes are called Twice: in keras_vae\.a and in keras_vae\.b"):
            catalogue.parts()
    finally:
        catalogue.parts.cache_clear()
