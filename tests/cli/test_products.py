"""What is made with the model of a run: files that hold what the one call in Python gives, and what is refused."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from sources import picture

import keras_vae as kv
from keras_vae import data


def mostly_slow(*cases):
    """The first case every day, the others with the slow tests: each loads its model anew."""
    return [cases[0], *(pytest.param(*case, marks=pytest.mark.slow) for case in cases[1:])]


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def bytes_of(images):
    return np.rint(np.clip(images[..., 0], 0, 1) * 255).astype("uint8")


@pytest.fixture(scope="module")
def drawings(tmp_path_factory, digits_run):
    """Black and white pictures of the size that the digits have."""
    folder = tmp_path_factory.mktemp("drawings") / "some"
    generator = np.random.default_rng(0)
    for name in ("b.png", "a/2.png", "a/10.png", "c.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((generator.random((8, 8)) > 0.6).astype("uint8") * 255).save(folder / name)
    return folder


def test_samples_are_those_of_python_one_file_each(digits_run, tmp_path, ended):
    code, out, err = ended("sample", digits_run, "-n", "12", "-o", tmp_path / "new", "--seed", "5")
    assert code == 0, err
    assert f"12 samples in {tmp_path / 'new'}, each 8 x 8 x 1, seed 5." in out
    files = sorted((tmp_path / "new").glob("*.png"))
    assert [path.name for path in files] == [f"{k:05d}.png" for k in range(12)]
    drawn = kv.load(digits_run / "vae.keras").sample(12, seed=5)
    np.testing.assert_array_equal(np.stack([pixels(path) for path in files]), bytes_of(drawn))
    about = json.loads((tmp_path / "new/about.json").read_text())
    assert about["run"] == str(digits_run) and len(about["files"]) == 12


@pytest.mark.parametrize("suffix", mostly_slow("npz", ["npy"], ["csv"], ["png"]))
def test_samples_in_one_file(digits_run, tmp_path, ended, suffix):
    path = tmp_path / "deep" / f"new.{suffix}"
    code, _, err = ended("sample", digits_run, "-n", "9", "-o", path, "--noise")
    assert code == 0, err
    drawn = kv.load(digits_run / "vae.keras").sample(9, seed=0, noise=True)
    if suffix == "png":
        assert min(pixels(path).shape) > 200
    elif suffix == "csv":
        header, *rows = csv.reader(path.read_text().splitlines())
        assert header[:2] == ["image_0", "image_1"] and len(header) == 64
        np.testing.assert_array_equal(np.array(rows, "float32"), drawn.reshape(9, 64))
    else:
        found = np.load(path)["images"] if suffix == "npz" else np.load(path)
        np.testing.assert_array_equal(found, drawn)
        np.testing.assert_array_equal(np.concatenate(list(data.load(path, test_split=0))), drawn)


def test_classes_take_turns_in_folders_that_can_be_read_again(labelled_run, tmp_path, ended):
    code, out, err = ended("sample", labelled_run, "-n", "7", "-o", tmp_path / "new")
    assert code == 0, err
    assert "7 samples of 3 classes" in out
    drawn = kv.load(labelled_run / "vae.keras").sample(7, seed=0, condition=np.array([0, 1, 2, 0, 1, 2, 0]))
    whole = data.load(tmp_path / "new", test_split=0, labels=True)
    assert whole.class_names == ("dark", "light", "middle")
    assert whole.file_names[:4] == ("dark/00000.png", "dark/00003.png", "dark/00006.png", "light/00001.png")
    ((images, labels),) = whole
    order = [0, 3, 6, 1, 4, 2, 5]
    np.testing.assert_allclose(images, np.clip(drawn[order], 0, 1), atol=0.5 / 255 + 1e-6)
    assert labels.numpy().tolist() == [0, 0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("typed", "labels"), mostly_slow((["dark", "2"], [0, 2, 0]), (["light"], [1, 1, 1]), (["2"], [2, 2, 2]))
)
def test_a_class_is_asked_for_by_name_or_number(labelled_run, tmp_path, ended, typed, labels):
    code, _, err = ended("sample", labelled_run, "-n", "3", "-o", tmp_path / "new.npz", "--condition", *typed)
    assert code == 0, err
    found = np.load(tmp_path / "new.npz")
    assert found["labels"].tolist() == labels and found["class_names"].tolist() == ["dark", "light", "middle"]
    drawn = kv.load(labelled_run / "vae.keras").sample(3, seed=0, condition=np.array(labels))
    np.testing.assert_array_equal(found["images"], drawn)
    ended("sample", labelled_run, "-n", "3", "-o", tmp_path / "new", "--condition", *typed)
    assert (tmp_path / "new" / ("00000.png" if len(typed) == 1 else "dark/00000.png")).is_file()


@pytest.mark.parametrize(
    ("typed", "message"),
    mostly_slow(
        (["lihgt"], "Did you mean 'light'?"),
        (["7"], "labels are 0 to 2"),
        (["0.5"], "No class is called '0.5'"),
        ([], "was given none"),
    ),
)
def test_a_wrong_condition_is_refused(labelled_run, tmp_path, ended, typed, message):
    code, _, err = ended("sample", labelled_run, "-o", tmp_path / "new.npz", "--condition", *typed)
    assert code == 1 and message in err and err.startswith("keras-vae: --condition")
    assert not (tmp_path / "new.npz").exists()


@pytest.mark.slow
def test_a_condition_for_a_model_without_is_refused(digits_run, drawings, tmp_path, ended):
    for call in (["sample", digits_run], ["encode", digits_run, drawings]):
        code, _, err = ended(*call, "-o", tmp_path / "new.npz", "--condition", "3")
        assert code == 1 and "this model takes none" in err


def test_codes_have_the_names_of_their_files(digits_run, drawings, tmp_path, ended):
    code, out, err = ended("encode", digits_run, drawings, "-o", tmp_path / "codes.npz")
    assert code == 0, err
    assert "4 codes of 2 dimensions" in out
    found = np.load(tmp_path / "codes.npz")
    assert found["names"].tolist() == ["a/10.png", "a/2.png", "b.png", "c.png"]
    q = kv.load(digits_run / "vae.keras").encode(data.load(drawings, test_split=0))
    np.testing.assert_allclose(found["means"], q.mean(), atol=1e-5)
    np.testing.assert_allclose(found["deviations"], q.stddev(), atol=1e-5)
    assert ended("encode", digits_run, drawings, "-o", tmp_path / "codes.npy")[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), found["means"])
    assert ended("encode", digits_run, drawings, "-o", tmp_path / "codes.csv")[0] == 0
    header, *rows = csv.reader((tmp_path / "codes.csv").read_text().splitlines())
    assert header == ["name", "mean_0", "mean_1", "deviation_0", "deviation_1"]
    assert [row[0] for row in rows] == found["names"].tolist()
    np.testing.assert_array_equal(np.array([row[1:3] for row in rows], "float32"), found["means"])


@pytest.mark.slow
def test_data_in_any_form_have_the_same_codes(digits_run, drawings, tmp_path, ended):
    names = ["a/10.png", "a/2.png", "b.png", "c.png"]
    images = np.stack([pixels(drawings / name) for name in names])
    np.save(tmp_path / "images.npy", images)
    np.savez(tmp_path / "images.npz", images=images)
    np.save(tmp_path / "rows.npy", images.reshape(4, 64))
    np.savetxt(tmp_path / "rows.csv", images.reshape(4, 64), delimiter=",", fmt="%d")
    Image.fromarray(np.repeat(images[..., None], 3, axis=-1)[1]).save(tmp_path / "colour.png")
    assert ended("encode", digits_run, drawings, "-o", tmp_path / "expected.npy")[0] == 0
    expected = np.load(tmp_path / "expected.npy")
    for number, given in enumerate(
        [[tmp_path / name] for name in ("images.npy", "images.npz", "rows.npy", "rows.csv")]
        + [[drawings / name for name in names]]
    ):
        code, _, err = ended("encode", digits_run, *given, "-o", tmp_path / f"{number}.npy")
        assert code == 0, err
        np.testing.assert_allclose(np.load(tmp_path / f"{number}.npy"), expected, atol=1e-6)
    code, _, err = ended("encode", digits_run, tmp_path / "colour.png", "-o", tmp_path / "one.npz")
    assert code == 0, err
    np.testing.assert_allclose(np.load(tmp_path / "one.npz")["means"], expected[1:2], atol=1e-6)


@pytest.mark.slow
def test_without_data_the_test_examples_of_the_run_are_taken(digits_run, labelled_run, tmp_path, ended):
    code, out, err = ended("encode", digits_run, "-o", tmp_path / "codes.npz")
    assert code == 0, err
    assert "of the test examples of the run" in out
    _, test = data.load("digits", binarize="threshold")
    q = kv.load(digits_run / "vae.keras").encode(test)
    np.testing.assert_allclose(np.load(tmp_path / "codes.npz")["means"], q.mean(), atol=1e-5)
    assert ended("encode", labelled_run, "-o", tmp_path / "labelled.npz")[0] == 0
    assert all(
        name.split("/")[0] in ("dark", "light", "middle") for name in np.load(tmp_path / "labelled.npz")["names"]
    )


@pytest.mark.slow
def test_the_class_of_an_example_is_its_folder_or_what_was_typed(labelled_run, tmp_path, ended):
    vae, pictures = kv.load(labelled_run / "vae.keras"), labelled_run.parent / "pictures"
    code, _, err = ended("encode", labelled_run, pictures, "-o", tmp_path / "own.npy")
    assert code == 0, err
    ((x, y),) = data.load(pictures, test_split=0, labels=True)
    np.testing.assert_allclose(np.load(tmp_path / "own.npy"), vae.encode(x, y).mean(), atol=1e-5)
    shutil.copytree(pictures / "light", tmp_path / "unsorted")
    code, _, err = ended("encode", labelled_run, tmp_path / "unsorted", "-o", tmp_path / "unsorted.npy")
    assert code == 1 and "say what all of the data are by --condition" in err
    code, _, err = ended(
        "encode", labelled_run, tmp_path / "unsorted", "-o", tmp_path / "unsorted.npy", "--condition", "light"
    )
    assert code == 0, err
    x = x[6:12]
    np.testing.assert_allclose(np.load(tmp_path / "unsorted.npy"), vae.encode(x, 1).mean(), atol=1e-5)


def test_reconstructions_are_called_like_the_data(digits_run, drawings, tmp_path, ended):
    code, _, err = ended("reconstruct", digits_run, drawings, "-o", tmp_path / "made")
    assert code == 0, err
    made = kv.load(digits_run / "vae.keras").reconstruct(data.load(drawings, test_split=0))
    for name, image in zip(["a/10.png", "a/2.png", "b.png", "c.png"], bytes_of(made), strict=True):
        assert np.abs(pixels(tmp_path / "made" / name).astype(int) - image).max() <= 1
    assert ended("reconstruct", digits_run, drawings, "-o", tmp_path / "made.npz")[0] == 0
    np.testing.assert_allclose(np.load(tmp_path / "made.npz")["images"], made, atol=1e-5)
    assert ended("reconstruct", digits_run, drawings, "-o", tmp_path / "made.png")[0] == 0
    assert min(pixels(tmp_path / "made.png").shape[:2]) > 100


@pytest.mark.slow
def test_files_of_one_name_do_not_overwrite_each_other(digits_run, drawings, tmp_path, ended):
    (tmp_path / "other").mkdir()
    shutil.copy(drawings / "b.png", tmp_path / "other/b.png")
    code, _, err = ended(
        "reconstruct", digits_run, drawings / "b.png", tmp_path / "other/b.png", "-o", tmp_path / "made"
    )
    assert code == 0, err
    assert len(list((tmp_path / "made").glob("*.png"))) == 2


def test_the_way_between_two_pictures(digits_run, labelled_run, drawings, tmp_path, ended):
    two = [drawings / "b.png", drawings / "c.png"]
    code, _, err = ended("interpolate", digits_run, *two, "-o", tmp_path / "between.png", "--steps", "5")
    assert code == 0, err
    height, width = pixels(tmp_path / "between.png").shape[:2]
    assert width > 4 * height  # seven tiles beside each other, under a title
    two = [labelled_run.parent / "pictures" / name for name in ("dark/1.png", "light/3.png")]
    code, _, err = ended("interpolate", labelled_run, *two, "-o", tmp_path / "labelled.png")
    assert code == 0, err
    code, _, err = ended("interpolate", digits_run, two[0], "-o", tmp_path / "x.png")
    assert code == 2 and "SECOND" in err


VERBS = {
    "sample": ["sample"],
    "encode": ["encode", "DATA"],
    "reconstruct": ["reconstruct", "DATA"],
    "interpolate": ["interpolate", "DATA/b.png", "DATA/c.png"],
}


def call(verb, run, drawings, output, *more):
    name, *given = VERBS[verb]
    return [name, run, *(text.replace("DATA", str(drawings)) for text in given), "-o", output, *more]


@pytest.mark.parametrize("verb", mostly_slow("encode", ["sample"], ["reconstruct"], ["interpolate"]))
def test_what_is_there_is_not_overwritten_unless_that_is_said(verb, digits_run, drawings, tmp_path, ended):
    path = tmp_path / ("mine.png" if verb == "interpolate" else "mine.npz")
    path.write_text("years of work")
    code, _, err = ended(*call(verb, digits_run, drawings, path))
    assert code == 2 and "is there already, and was not touched" in err and "--force" in err
    assert path.read_text() == "years of work"
    code, _, err = ended(*call(verb, digits_run, drawings, path, "--force"))
    assert code == 0, err
    assert path.read_bytes() != b"years of work"


@pytest.mark.parametrize("verb", mostly_slow("sample", ["reconstruct"]))
def test_a_folder_gives_way_only_if_all_in_it_is_such_a_result(verb, digits_run, drawings, tmp_path, ended):
    made = tmp_path / "made"
    made.mkdir()  # an empty one is no work of anybody's
    assert ended(*call(verb, digits_run, drawings, made))[0] == 0
    before = {p.relative_to(made): p.read_bytes() for p in made.rglob("*.png")}
    assert ended(*call(verb, digits_run, drawings, made))[0] == 2
    again = ["--seed", "7"]
    if verb == "reconstruct":
        # Other pictures of the same names.
        shutil.copytree(drawings, tmp_path / "others")
        shutil.copy(drawings / "c.png", tmp_path / "others/b.png")
        again, drawings = [], tmp_path / "others"
    assert ended(*call(verb, digits_run, drawings, made, "--force", *again))[0] == 0
    after = {p.relative_to(made): p.read_bytes() for p in made.rglob("*.png")}
    assert after.keys() == before.keys() and after != before
    (made / "thesis.txt").write_text("years of work")
    code, _, err = ended(*call(verb, digits_run, drawings, made, "--force"))
    assert code == 1 and "thesis.txt" in err and (made / "thesis.txt").read_text() == "years of work"
    (tmp_path / "pictures").mkdir()
    picture(tmp_path / "pictures/holiday.png")
    code, _, err = ended(*call(verb, digits_run, drawings, tmp_path / "pictures", "--force"))
    assert code == 1 and "has not written holiday.png" in err
    # Another program's file of that name lists no work of ours.
    (tmp_path / "pictures/about.json").write_text(json.dumps({"made_by": "hand", "files": ["holiday.png"]}))
    code, _, err = ended(*call(verb, digits_run, drawings, tmp_path / "pictures", "--force"))
    assert code == 1 and "has not written about.json" in err
    (made / "thesis.txt").unlink()
    (made / "album").symlink_to(tmp_path / "pictures")
    code, _, err = ended(*call(verb, digits_run, drawings, made, "--force"))
    assert code == 1 and "has not written album" in err and (made / "album").is_symlink()


@pytest.mark.parametrize("verb", VERBS)
def test_runs_that_are_missing_or_have_no_model_are_refused(verb, drawings, tmp_path, ended, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = ended(*call(verb, "runs/digts", drawings, "x.png"))
    assert code == 2 and "There is no run folder 'runs/digts'" in err and "keras-vae train" in err
    (tmp_path / "runs/digits").mkdir(parents=True)
    (tmp_path / "runs/digits/config.yaml").write_text("data: {name: digits}")
    code, _, err = ended(*call(verb, "runs/digts", drawings, "x.png"))
    assert code == 2 and "Did you mean runs/digits?" in err
    code, _, err = ended(*call(verb, "digits", drawings, "x.png"))
    assert code == 2 and "Did you mean runs/digits?" in err
    code, _, err = ended(*call(verb, "runs/digits", drawings, "x.png"))
    assert code == 2 and "holds no vae.keras yet" in err
    code, _, err = ended(*call(verb, "vae.keras", drawings, "x.png"))
    assert code == 2 and "There is no file" in err
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_outputs_of_another_kind_are_refused(verb, digits_run, drawings, tmp_path, ended):
    code, _, err = ended(*call(verb, digits_run, drawings, tmp_path / "x.jpg"))
    assert code == 2 and "give a file that ends in" in err
    code, out, err = ended(*call(verb, digits_run, drawings, tmp_path / "x.png")[:-2])
    assert code == 2 and "--output" in out + err
    (tmp_path / "file").write_text("")
    if verb in ("sample", "reconstruct"):
        code, _, err = ended(*call(verb, digits_run, drawings, tmp_path / "file", "--force"))
        assert code == 2 and "is a file, and no folder" in err


@pytest.mark.slow
def test_data_of_another_kind_are_refused(digits_run, tmp_path, ended):
    (tmp_path / "table.csv").write_text("1,2,3\n4,5,6\n")
    (tmp_path / "words.csv").write_text("a,b\n1,x\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "broken.npy").write_bytes(b"no array")
    for name, message in (
        ("table.csv", "The model is of images of 8 x 8 x 1"),
        ("words.csv", "Line 2 of"),
        ("empty", "No image files"),
        ("notes.txt", "neither a folder of images"),
        ("broken.png", "Cannot read the image file"),
        ("broken.npy", "is damaged or no numpy array"),
        ("nowhere/x.png", "There is no file or folder"),
        ("nowhere", "No dataset, file or folder is called"),
    ):
        given = name if name == "nowhere" else tmp_path / name
        code, _, err = ended("encode", digits_run, given, "-o", tmp_path / "codes.npz")
        assert code == 1 and message in err, err
        assert not (tmp_path / "codes.npz").exists()


@pytest.mark.slow
def test_a_model_file_does_as_well_as_a_run(digits_run, drawings, tmp_path, ended):
    shutil.copy(digits_run / "vae.keras", tmp_path / "mine.keras")
    assert ended("sample", tmp_path / "mine.keras", "-n", "2", "-o", tmp_path / "new.npz")[0] == 0
    assert ended("encode", tmp_path / "mine.keras", drawings, "-o", tmp_path / "codes.npz")[0] == 0
    code, _, err = ended("encode", tmp_path / "mine.keras", "-o", tmp_path / "more.npz")
    assert code == 1 and "only a run folder knows test examples" in err


def test_a_run_that_goes_on_is_used_as_it_is_and_that_is_said(digits_run, tmp_path, ended):
    shutil.copytree(digits_run, tmp_path / "run")
    (tmp_path / "run/report.json").unlink()
    code, out, _ = ended("sample", tmp_path / "run", "-n", "2", "-o", tmp_path / "new.npz")
    assert code == 0 and "is not finished: this is its best model so far" in out


@pytest.mark.slow
def test_a_table_is_trained_on_and_used(tmp_path, monkeypatch, ended):
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
    np.savetxt("table.csv", values, delimiter=",", header="a,b,c", comments="")
    options = ["data.binarize=null", "model.likelihood=Normal", "model.prior=StandardNormal", "model.latent_dim=2"]
    options += ["train.epochs=1", "data.batch_size=20", "model.encoder={name: mlp, units: [4]}", "export.formats=[]"]
    options += ["model.decoder={name: mlp, units: [4]}"]
    code, out, err = ended("train", "--data", "table.csv", "--run", "run", "--set", *options)
    assert code == 0, err
    assert "keras-vae sample -n 100 -o drawn.npz run\n" in out
    assert ended("sample", "-n", "100", "-o", "drawn.npz", "run")[0] == 0
    assert ended("sample", "run", "-n", "5", "-o", "new.csv")[0] == 0
    drawn = kv.load("run/vae.keras").sample(5, seed=0)
    np.testing.assert_array_equal(np.concatenate(list(data.load("new.csv", test_split=0))), drawn)
    assert ended("encode", "run", "table.csv", "-o", "codes.npz")[0] == 0
    expected = kv.load("run/vae.keras").encode(data.load("table.csv", test_split=0)).mean()
    np.testing.assert_allclose(np.load("codes.npz")["means"], expected, atol=1e-6)
    assert "names" not in np.load("codes.npz")
    code, _, err = ended("reconstruct", "run", "table.csv", "-o", "folder")
    assert code == 1 and "are no pictures" in err and not (tmp_path / "folder").exists()
    assert ended("reconstruct", "run", "table.csv", "-o", "curves.png")[0] == 0
    code, _, err = ended("encode", "run", "run/pictures", "-o", "more.npz")
    assert code == 1 and "The model is of vectors of 3 numbers" in err


@pytest.mark.parametrize("words", [["encode", "RUN", ""], ["reconstruct", "RUN", "a.png", ""], ["compare", "RUN", ""]])
def test_an_empty_word_is_not_the_current_folder(digits_run, tmp_path, ended, words):
    words = [digits_run if word == "RUN" else word for word in words]
    code, out, err = ended(*words, *([] if words[0] == "compare" else ["-o", tmp_path / "x.npz"]))
    assert code != 0 and "It is empty" in out + err and not (tmp_path / "x.npz").exists()


@pytest.mark.parametrize("two", [["", "b.png"], ["a.png", ""]])
def test_both_pictures_have_names(digits_run, tmp_path, ended, two):
    code, out, err = ended("interpolate", digits_run, *two, "-o", tmp_path / "x.png")
    assert code != 0 and "It is empty" in out + err
