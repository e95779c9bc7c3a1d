"""Parts of the user's own, named in a config by their module."""

import shutil

import pytest

from keras_vae_cli import own_parts, settings
from keras_vae_cli.commands import build
from keras_vae_cli.errors import ConfigError

SOURCE = '''
"""Mine."""
import keras_vae as kv
import tensorflow as tf
import tensorflow_probability as tfp
from keras_vae import networks, objectives, posteriors, priors


@kv.register
class StudentT(priors.Prior):
    """Heavy tails. Of as many degrees of freedom as one likes."""

    def __init__(self, latent_dim, df: float = 5.0, **kwargs):
        super().__init__(latent_dim, **kwargs)
        self.df = df

    def distribution(self, encoder=None, condition=None):
        return tfp.distributions.Independent(tfp.distributions.StudentT(self.df, tf.zeros(self.latent_dim), 1.0), 1)


@kv.register
class StandardNormal(priors.StandardNormal):
    """Called like its base."""


class Forgotten(priors.Prior):
    pass


class Nothing:
    pass
'''
SMALL = ["model.latent_dim=2", "model.encoder={name: mlp, units: [8]}", "model.decoder={name: mlp, units: [8]}"]
SMALL += ["model.posterior=MultivariateNormalDiag", "model.prior=StandardNormal", "model.objective=ELBO"]
SMALL += ["model.likelihood=Bernoulli", "data.binarize=threshold", "export.formats=[]"]


@pytest.fixture
def home(tmp_path, monkeypatch, request):
    """The current folder, with a module that no other test has."""
    monkeypatch.chdir(tmp_path)
    name = f"own_{abs(hash(request.node.name)) % 10**8}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    return name


def test_a_class_of_a_module_stands_for_a_part(home):
    made = settings.load(None, [*SMALL, f"model.prior={{name: '{home}:StudentT', df: 3.0}}"])
    assert made.model.prior == {"name": f"{home}:StudentT", "df": 3.0}
    prior = build.make_vae(made, (8, 8, 1)).prior
    assert type(prior).__name__ == "StudentT" and (prior.df, prior.latent_dim) == (3.0, 2)
    made = settings.load(None, [f"model.prior={home}:StandardNormal"])
    assert type(build.make_vae(made, (8, 8, 1)).prior).__module__ == home
    assert own_parts.find("prior", f"{home}:StudentT").line == "Heavy tails."


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.prior=HOME:StudntT", "has no class 'StudntT'; did you mean HOME:StudentT?"),
        ("model.prior=nowhere_at_all:StudentT", "there is no module 'nowhere_at_all'"),
        ("model.posterior=HOME:StudentT", "is a prior, and a posterior is wanted"),
        ("model.prior=HOME:Nothing", "derives from no part of keras_vae"),
        ("model.prior=HOME:Forgotten", "write @kv.register above class Forgotten(priors.Prior)"),
        ("model.prior=HOME:a b", "is no class in a module"),
        ("model.prior={name: 'HOME:StudentT', dff: 3}", "has no argument 'dff'; did you mean 'df'?"),
        ("model.prior={name: 'HOME:StudentT', df: three}", "df must be a number"),
        ("model.prior=StudentT", "or one of your own, module:Class"),
    ],
)
def test_what_cannot_be_a_part_is_refused_before_anything_is_imported(home, override, message):
    with pytest.raises(ConfigError) as error:
        settings.load(None, [override.replace("HOME", home)])
    assert message.replace("HOME", home) in str(error.value)


def test_the_parts_of_a_module_can_be_looked_at(home, ended):
    code, out, _ = ended("parts", f"{home}:StudentT")
    assert code == 0 and f"model.prior: {{name: {home}:StudentT, df: 5.0}}" in out
    code, _, err = ended("parts", f"{home}:Nothing")
    assert code == 2 and "derives from no part" in err


def test_a_run_with_parts_of_ones_own_is_used_where_their_module_is(home, tmp_path, ended, monkeypatch):
    options = ["--set", *SMALL, "train.epochs=1"]
    code, out, err = ended("train", *options, f"model.prior={home}:StudentT")
    assert code == 0, err
    assert f"import keras_vae as kv; import {home}; vae = kv.load" in out
    for words in (["sample", "runs/digits", "-n", "2", "-o", "new.npz"], ["info", "runs/digits"]):
        code, _, err = ended(*words)
        assert code == 0, err
    # A stranger's run folder has its own module in it, which is not executed.
    shutil.copytree("runs/digits", tmp_path / "stranger")
    (tmp_path / f"{home}.py").rename(tmp_path / "stranger" / f"{home}.py")
    code, _, err = ended("sample", "stranger", "-n", "2", "-o", "more.npz")
    assert code == 1 and f"there is no module '{home}'" in err
    monkeypatch.chdir(tmp_path / "stranger")
    code, _, err = ended("sample", ".", "-n", "2", "-o", "../more.npz")
    assert code == 1 and "lies in the run folder, and is not executed" in err


@pytest.mark.parametrize("way", ["folder", "link", "namespace"])
def test_nothing_that_lies_in_a_run_is_executed_by_the_name_of_its_folder(home, tmp_path, way):
    """A package is executed when a module in it is imported, and a link may lead to a module that lies elsewhere."""
    stranger = f"stranger_{way}_of_{home}"
    run = tmp_path / stranger
    run.mkdir()
    (run / "parts.py").symlink_to(tmp_path / f"{home}.py")
    if way != "namespace":
        (run / "__init__.py").write_text("import pathlib\npathlib.Path('executed').touch()\n")
    if way == "link":
        run = run.rename(tmp_path / "elsewhere")
        (tmp_path / stranger).symlink_to(run)
    name = f"{stranger}.parts:StandardNormal"
    assert settings.load(None, [f"model.prior={name}"]).model.prior == {"name": name}
    for path in (run, tmp_path / stranger, tmp_path / "elsewhere" / ".." / stranger):
        with pytest.raises(ValueError, match="lies in the run folder, and is not executed"):
            own_parts.load_all({"prior": {"name": name}}, path)
    assert not (tmp_path / "executed").exists()


def test_no_module_is_imported_inside_of_a_run(home, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "run/deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run/deeper")
    with pytest.raises(ValueError, match="is not imported in the run folder"):
        own_parts.load_all({"prior": {"name": f"{home}:StandardNormal"}}, tmp_path / "run")


def test_a_folder_without_init_is_a_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_outer/own_inner").mkdir(parents=True)
    (tmp_path / "own_outer/own_inner/own_part.py").write_text(SOURCE)
    found = own_parts.find("prior", "own_outer.own_inner.own_part:StudentT")
    assert found.module == "own_outer.own_inner.own_part"
    with pytest.raises(ValueError, match="there is no module 'own_outer"):
        own_parts.find("prior", "own_outer.own_inner.missing:StudentT")


def test_a_module_that_fails_is_said_to(tmp_path, monkeypatch, ended):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_broken.py").write_text(SOURCE + "\n1 / 0\n")
    code, _, err = ended("train", "--set", *SMALL, "train.epochs=1", "model.prior=own_broken:StudentT")
    assert code == 1 and "own_broken.py cannot be imported: ZeroDivisionError" in err
    (tmp_path / "own_text.py").write_text("class (")
    code, _, err = ended("train", "--set", "model.prior=own_text:StudentT")
    assert code == 2 and "own_text.py is no Python" in err
