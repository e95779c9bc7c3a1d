"""A stranger's folder of class folders, from the command line to samples by name; and runs from before `data.fit`."""

import json
import shutil
import signal

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw

import keras_vae as kv
from keras_vae_cli import settings
from keras_vae_cli.commands import run_data
from keras_vae_cli.commands.build import is_before_fit, read
from keras_vae_cli.main import main

NAMES = ("Kreise groß", "leere Felder", "quadratische")
SET = ["data.resize=[8, 8]", "data.condition=label", "data.batch_size=8", "model.latent_dim=2", "train.epochs=1"]
SET += ["model.posterior=MultivariateNormalDiag", "model.prior=StandardNormal", "model.objective=ELBO"]
SET += ["model.encoder={name: mlp, units: [4]}", "model.decoder={name: mlp, units: [4]}", "export.formats=[]"]
TRAIN = ["train", "image_folder", "--data", "pictures", "--run", "run", "--set", *SET]


def write(folder, names=NAMES, count=12):
    """Pictures of 16 x 24 pixels whose brightness is that of their class: 0, 100 and 200."""
    for name in names:
        (folder / name).mkdir(parents=True)
        for k in range(count):
            image = Image.new("L", (24, 16), 100 * NAMES.index(name) if name in NAMES else 50)
            ImageDraw.Draw(image).point((12, 8), fill=k)
            image.save(folder / name / f"{k}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    write(home / "pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr(signal, "signal", lambda *_: None)
        with pytest.raises(SystemExit) as end:
            main(TRAIN)
        assert end.value.code == 0
    return home


@pytest.fixture
def home(trained, tmp_path, monkeypatch):
    """A copy in the current folder."""
    shutil.copytree(trained, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    record = tmp_path / "home/run/data.json"
    record.write_text(record.read_text().replace(str(trained), str(tmp_path / "home")))
    return tmp_path / "home"


def labels_of(splits):
    """The brightness and the labels of all examples."""
    pairs = [(x, y) for part in (splits.train, splits.test) for x, y in part.dataset(99)]
    return np.concatenate([np.asarray(x)[:, 0, 0, 0] * 255 for x, _ in pairs]), np.concatenate([y for _, y in pairs])


@pytest.mark.slow
def test_names_from_folders_to_samples(home, ended):
    vae = kv.load("run/vae.keras")
    assert vae.condition.names == NAMES
    np.testing.assert_array_equal(vae.sample(3, seed=0, condition=NAMES[2]), vae.sample(3, seed=0, condition=2))
    assert json.loads((home / "run/report.json").read_text())["class_names"] == list(NAMES)
    assert read("run").data.fit == "crop"
    shutil.rmtree("run")
    code, output, _ = ended(*TRAIN)
    assert code == 0
    assert "3 classes: 'Kreise groß', 'leere Felder', 'quadratische'" in output
    assert 'condition="Kreise groß"' in output
    assert "36 of the 36 images in 'pictures' have another shape than 8x8" in output


@pytest.mark.slow
def test_own_pictures_are_drawn_by_class(tmp_path, monkeypatch, ended):
    write(tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    changes = [
        "data.condition=label",
        "data.resize=[8, 8]",
        "data.batch_size=8",
        "data.mirror=true",
        "export.formats=[]",
    ]
    changes += ["model.latent_dim=8", "model.encoder.filters=[8, 8]", "model.decoder.filters=[8, 8]"]
    changes += ["model.posterior.grid=[2, 2]", "model.posterior.num_codes=8"]
    changes += [
        "model.prior={name: AutoregressiveCodes, grid: [2, 2], num_codes: 8, units: 8, num_layers: 1, num_heads: 2}"
    ]
    changes += ["train.epochs=30", "train.learning_rate=0.01", "train.final_learning_rate=null"]
    code, output, error = ended("train", "image_folder", "--data", "pictures", "--run", "run", "--set", *changes)
    assert code == 0, output + error
    vae = kv.load("run/vae.keras")
    assert vae.prior.condition == vae.decoder.condition and vae.condition.names == NAMES
    means = [float(vae.sample(32, seed=0, condition=name).mean()) * 255 for name in NAMES]
    # The classes are gray levels of 0, 100 and 200.
    assert means[0] < 60 < means[1] < 150 < means[2], means


@pytest.mark.slow
def test_new_data_are_numbered_as_the_model_was(home, ended):
    # Without its first class, the data alone would give the others other labels.
    write(home / "fewer", NAMES[1:])
    code, _, errors = ended("evaluate", "run", "--data", "fewer", "--num-samples", "2")
    assert code != 0 and "the class 'Kreise groß' is gone" in errors
    code, output, errors = ended("evaluate", "run", "--data", "fewer", "--num-samples", "2", "--accept-changes")
    assert code == 0, errors
    brightness, labels = labels_of(run_data.open_data(read("run"), home / "run", home / "fewer", print))
    assert set(labels) == {1, 2}
    np.testing.assert_allclose(brightness, 100 * labels, atol=1)
    write(home / "other", (NAMES[0], "Sterne"))
    code, _, errors = ended("plot", "run", "--data", "other", "--accept-changes")
    assert code != 0 and "has the classes 'Sterne', which are none of those wanted" in errors
    # Also after a record that was written by these data.
    more = [*TRAIN[:3], "fewer", *TRAIN[4:], "train.epochs=2", "--accept-changes"]
    code, output, errors = ended(*more)
    assert code == 0, output + errors
    assert json.loads((home / "run/data.json").read_text())["class_names"] == list(NAMES)
    _, labels = labels_of(run_data.open_data(read("run"), home / "run", write=print))
    assert set(labels) == {1, 2} and kv.load("run/vae.keras").condition.names == NAMES


@pytest.mark.slow
def test_a_run_from_before_goes_on_as_it_was(home, ended):
    values = yaml.safe_load((home / "run/config.yaml").read_text())
    del values["data"]["fit"], values["data"]["class_names"]
    (home / "run/config.yaml").write_text(yaml.safe_dump(values))
    record = json.loads((home / "run/data.json").read_text())
    del record["class_names"]
    (home / "run/data.json").write_text(json.dumps(record))
    assert is_before_fit("run") and read("run").data.fit == "stretch"
    code, output, errors = ended(*TRAIN)
    assert code == 0 and "is finished: nothing to do" in output, errors
    code, _, errors = ended(*TRAIN, "data.fit=pad")
    assert code != 0 and "-  fit: stretch" in errors and "+  fit: pad" in errors
    code, output, errors = ended(*TRAIN, "train.epochs=2", "--accept-changes")
    assert code == 0, output + errors
    assert "fit:" not in output and "another shape" not in output
    assert read("run").data.fit == "stretch" and not is_before_fit("run")


def test_what_a_run_without_a_choice_does(tmp_path):
    (tmp_path / "config.yaml").write_text("data: {path: pictures}\n")
    plain, chosen = settings.load("image_folder"), settings.load("image_folder", ["data.fit=crop"])
    assert run_data.fit_of_run(plain, tmp_path / "new") == "crop"
    assert run_data.fit_of_run(plain, tmp_path) == "stretch" and run_data.fit_of_run(chosen, tmp_path) == "crop"
    (tmp_path / "config.yaml").write_text(chosen.as_yaml())
    assert run_data.fit_of_run(settings.load("image_folder", ["data.fit=pad"]), tmp_path) == "pad"
    assert run_data.fit_of_run(plain, tmp_path) == "crop"
    (tmp_path / "config.yaml").write_text("data: {path: pictures, class_names: [yes, 0]}\n")
    with pytest.raises(Exception, match="class_names"):
        read(tmp_path)
