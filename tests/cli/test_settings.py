"""What a config and --set may say, what is said of mistakes, and which file a name stands for."""

import pytest

from keras_vae_cli import hints, settings
from keras_vae_cli.errors import ConfigError
from keras_vae_cli.main import main


@pytest.mark.parametrize(
    "text",
    ["2024-01-01", "2024-01-01 10:00:00", "123", "0123", "1e5", "on", "no", "true", "~", "[a]", "a: b", "12:30:45"],
)
def test_names_and_paths_are_taken_as_they_are_written(tmp_path, text):
    assert settings.load(None, [f"data.path={text}"]).data.path == text
    assert settings.load(None, [f"train.start_from={text}", f"data.data_dir={text}"]).train.start_from == text
    made = settings.load(None, [f"data.path={text}"])
    (tmp_path / "config.yaml").write_text(made.as_yaml(), encoding="utf-8")
    assert settings.load(tmp_path / "config.yaml") == made
    if text[:1] not in "[~" and ": " not in text:
        (tmp_path / "mine.yaml").write_text(f"data: {{path: {text}}}", encoding="utf-8")
        assert settings.load(tmp_path / "mine.yaml").data.path == text


def test_a_path_in_quotes_is_what_the_quotes_hold_and_null_leaves_it_out():
    assert settings.load(None, ["data.path='null'"]).data.path == "null"
    assert settings.load(None, ["data.path=x", "data.path=null", "data.name=digits"]).data.path is None
    assert settings.load(None, ["train.start_from=null"]).train.start_from is None


@pytest.mark.parametrize(
    "override",
    [
        *[f"train.{name}=.inf" for name in ("learning_rate", "worker_timeout", "checkpoint_seconds", "epochs")],
        *[
            f"train.{name}=.nan"
            for name in ("learning_rate", "gradient_clip_norm", "gradient_skip_norm", "ema_momentum")
        ],
        *["train.epochs=1e25", f"train.epochs={10**25}", "train.epochs=true", "train.epochs=-1", "train.epochs=0"],
        *["train.learning_rate=true", "train.learning_rate=1e300", f"train.seed={2**31}", "train.seed=-1"],
        *["data.validation_split=.nan", "data.batch_size=1e3", f"data.batch_size={10**12}", "data.resize=[1e3, 2]"],
        *[f"model.latent_dim={2**31}", "model.latent_dim=1e9", "model.latent_dim=true", f"model.latents=[{10**10}]"],
        *["model.encoder.units=[10000000000]", "model.objective.kl_weight=.inf", "model.encoder.units=[true]"],
        *["train.optimizer_arguments.beta_1=.inf", "train.optimizer_arguments.beta_1=x"],
    ],
)
def test_numbers_that_cannot_be_are_refused_by_name(override):
    key = override.partition("=")[0]
    with pytest.raises(ConfigError) as error:
        settings.load(None, [override])
    first, *rest = str(error.value).splitlines()
    assert first == f"--set {override}, for the config digits:"
    assert all(any(part in line for part in (key, key.rpartition(".")[0])) for line in rest)


def test_what_is_given_elsewhere_is_no_argument_of_the_optimizer():
    for name, place in settings.GIVEN_ELSEWHERE.items():
        with pytest.raises(ConfigError, match=f"{name} is given by {place}, and only there"):
            settings.load(None, [f"train.optimizer_arguments.{name}=0.1"])
    assert settings.load(None, ["train.optimizer_arguments.amsgrad=true"]).train.optimizer_arguments == {
        "amsgrad": True
    }


def test_a_mistake_is_said_of_where_it_stands(tmp_path):
    (tmp_path / "my.yaml").write_text("data: {name: digits}\ntrain: {epochs: zero}\n")
    with pytest.raises(ConfigError) as error:
        settings.load(tmp_path / "my.yaml", ["train.seed=x", "train.epoch=3"])
    text = str(error.value)
    assert f"{tmp_path / 'my.yaml'}:\n  train.epochs" in text
    assert f"--set train.seed=x, for {tmp_path / 'my.yaml'}:\n  train.seed" in text
    assert "--set train.epoch=3" in text and "did you mean train.epochs?" in text
    with pytest.raises(ConfigError) as error:
        settings.load(None, ["model.posterior.nonsense=1"])
    assert str(error.value).startswith("--set model.posterior.nonsense=1, for the config digits:\n  model.posterior: ")


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("train.lr=1", "did you mean train.learning_rate?"),
        ("lr=1", "did you mean train.learning_rate?"),
        ("epochs=1", "did you mean train.epochs?"),
        ("batch_size=1", "did you mean data.batch_size?"),
        ("beta=1", "did you mean model.objective.kl_weight?"),
        ("model.beta=1", "did you mean model.objective.kl_weight?"),
        ("kl_weight=1", "did you mean model.objective.kl_weight?"),
        ("model.objective.beta=1", "did you mean 'kl_weight'?"),
        ("model.objective=BetaVAE", "did you mean 'ELBO'?"),
        ("model.objective=iwae", "did you mean 'ImportanceWeighted'?"),
        ("model.posterior=Gaussian", "did you mean 'MultivariateNormalDiag'?"),
        ("model.posterior=iaf", "did you mean 'Flow'?"),
        ("model.prior=gaussian", "did you mean 'StandardNormal'?"),
        ("model.prior=GMM", "did you mean 'NormalMixture'?"),
        ("model.likelihood=Gaussian", "did you mean 'Normal'?"),
        ("model.likelihood=bernouli", "did you mean 'Bernoulli'?"),
        ("model.encoder=CNN", "did you mean 'conv'?"),
        ("model.encoder.relu=true", "did you mean 'activation'?"),
        ("relu=true", "did you mean model.encoder.activation?"),
        ("train.patience=3", "did you mean train.early_stopping?"),
        ("data.folder=x", "did you mean data.path?"),
    ],
)
def test_what_was_meant_is_guessed(override, hint):
    with pytest.raises(ConfigError) as error:
        settings.load(None, [override])
    assert hint in str(error.value)


def test_every_hint_is_a_name_that_there_is():
    from keras_vae_cli import catalogue

    known = {name for parts in catalogue.parts().values() for name in parts}
    known |= {a.name for parts in catalogue.parts().values() for part in parts.values() for a in part.arguments}
    known |= {name for section in settings.Settings.model_fields for name in settings._section([section]).model_fields}
    assert {name for names in hints.SAME.values() for name in names} <= known | {"adam"}


def test_a_bare_name_is_a_config_of_the_package_whatever_lies_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    (tmp_path / "digits").write_text("data: {name: mine}")
    (tmp_path / "own").write_text("data: {name: mine}")
    assert settings.load("mnist").data.name == "mnist"
    assert settings.load("digits").data.name == "digits" and settings.load(None).data.name == "digits"
    assert settings.load("./digits").data.name == "mine" and settings.load("own").data.name == "mine"
    with pytest.raises(ConfigError, match="Did you mean mnist"):
        settings.load("minst")
    with pytest.raises(ConfigError, match="is no file"):
        settings.load("./mnist")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "--", "-name", "--num-samples", "3"], "keras-vae evaluate --num-samples 3 -- -name"),
        (["evaluate", "--num-samples", "3", "--", "-name"], "no run folder '-name'"),
        (["train", "--set"], "was given none"),
        (["train", "--set", "x"], "no config file 'x'"),
    ],
)
def test_a_call_that_is_wrong_says_how_it_is_right(capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err
