"""`keras-vae score`: files that hold what the call in Python gives, ranks by the run's own quantiles, and refusals."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from keras_vae import evaluation, load
from keras_vae.evaluation.normality import HeldOut


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Class folders: noise, and pictures with a light middle."""
    path = tmp_path_factory.mktemp("judged") / "pictures"
    rng = np.random.default_rng(0)
    for k in range(6):
        for name, picture in (("noise", rng.random((8, 8)) > 0.3), ("middle", np.pad(np.ones((4, 4)), 2))):
            (path / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray((picture * 255).astype("uint8")).save(path / name / f"{k}.png")
    return path


def test_a_run_keeps_the_scores_of_held_out_examples(digits_run):
    section = json.loads((digits_run / "report.json").read_text())["scores"]
    assert section["of"] == "validation" and section["num_samples"] == 16 and section["seed"] == 0
    kinds = {"elbo", "log_prob", "reconstruction", "kl", "typicality", "complexity"}
    assert set(section["held_out"]) == kinds
    for numbers in section["held_out"].values():
        kept = HeldOut.from_dict(numbers)
        assert kept.num_examples > 100 and kept.quantiles[0] <= kept.mean <= kept.quantiles[-1]


def test_scores_ranks_and_verdicts_of_pictures_in_class_folders(digits_run, folder, tmp_path, ended):
    command = ("score", digits_run, folder, "-o", tmp_path / "scores.csv", "--normal", "middle", "--quantile", "0.05")
    code, out, err = ended(*command)
    assert code == 0, err
    assert "AUROC" in out and "6 anomalies among 6 normal examples" in out and "held-out examples" in out
    rows = rows_of(tmp_path / "scores.csv")
    assert list(rows[0]) == ["name", "score", "rank", "normal", "label"]
    assert [row["label"] for row in rows] == ["middle"] * 6 + ["noise"] * 6
    x = np.stack([np.asarray(Image.open(folder / row["name"])) for row in rows])[..., None] / np.float32(255)
    scores = evaluation.scores(load(digits_run / "vae.keras"), x)
    np.testing.assert_allclose([float(row["score"]) for row in rows], scores, rtol=1e-5)
    kept = HeldOut.from_dict(json.loads((digits_run / "report.json").read_text())["scores"]["held_out"]["elbo"])
    np.testing.assert_allclose([float(row["rank"]) for row in rows], kept.ranks(scores), atol=1e-4)
    assert [int(row["normal"]) for row in rows] == list((scores >= kept.threshold(0.05)).astype(int))
    assert not any(int(row["normal"]) for row in rows[6:])
    code, _, err = ended(*command)
    assert code != 0 and "--force" in err


@pytest.mark.parametrize(
    ("name", "normal", "words"),
    [
        ("labels.csv", (), "6 anomalies among 6 normal examples"),
        ("labels.csv", ("--normal", "1"), "6 anomalies among 6 normal examples"),
        ("labels.txt", (), "6 anomalies among 6 normal examples"),
        ("short.txt", (), "there are 3 labels, and 12 examples"),
        ("words.txt", (), "say with --normal which of the classes are normal: cat, dog"),
        ("kind", (), "no such file, nor such a column"),
    ],
)
def test_labels_of_a_file_of_their_own(digits_run, folder, tmp_path, ended, monkeypatch, name, normal, words):
    (tmp_path / "labels.csv").write_text("name;label\n" + "".join(f"{k};{int(k >= 6)}\n" for k in range(12)))
    (tmp_path / "labels.txt").write_text("normal\n" * 6 + "anomaly\n" * 6)
    (tmp_path / "short.txt").write_text("0\n0\n1\n")
    (tmp_path / "words.txt").write_text("cat\n" * 6 + "dog\n" * 6)
    monkeypatch.chdir(tmp_path)
    code, out, err = ended("score", digits_run, folder, "-o", "scores.csv", "--labels", name, *normal)
    assert (code == 0) == ("among" in words) and words in " ".join((out + err).split())
    if code == 0:
        assert "AUPRC" in out and "--kind complexity or --kind typicality" in " ".join(out.split())
        assert [row["label"] for row in rows_of(tmp_path / "scores.csv")][::6] in (["0", "1"], ["normal", "anomaly"])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "labels"), [("x.npz", "state"), ("x.csv", "label"), ("x.csv", "truth.npz")])
def test_labels_beside_the_numbers_of_the_data(digits_run, folder, tmp_path, ended, monkeypatch, name, labels):
    monkeypatch.chdir(tmp_path)
    x = np.stack([np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.png"))])
    is_noise = np.arange(12) >= 6
    np.savez("x.npz", x=x, state=is_noise)
    np.savez("truth.npz", labels=is_noise.astype(int))
    names = ";".join(f"p{k}" for k in range(64))
    rows = [";".join(map(str, row)) + f";{int(bad)}" for row, bad in zip(x.reshape(12, 64), is_noise, strict=True)]
    (tmp_path / "x.csv").write_text("\n".join([f"{names};label", *rows]))
    code, out, err = ended("score", digits_run, name, "-o", "scores.csv", "--labels", labels)
    assert code == 0, err
    assert "6 anomalies among 6 normal examples" in " ".join(out.split())
    assert [row["label"] for row in rows_of(tmp_path / "scores.csv")][::6] in (["0", "1"], ["False", "True"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["log_prob", "reconstruction", "kl", "typicality", "complexity", "regret"])
def test_every_kind_and_other_draws(digits_run, folder, tmp_path, ended, kind):
    path = tmp_path / "scores.npz"
    code, _, err = ended("score", digits_run, folder, "-o", path, "--kind", kind, "--samples", "8", "--seed", "1")
    assert code == 0, err
    with np.load(path) as found:
        assert set(found) == {"scores", "names", "ranks", "normal"}
        assert np.isfinite(found["scores"]).all() and ((found["ranks"] >= 0) & (found["ranks"] <= 1)).all()


@pytest.mark.slow
def test_a_picture_and_the_test_examples_of_the_run(digits_run, tmp_path, ended):
    code, _, err = ended("score", digits_run, "-o", tmp_path / "scores.png")
    assert code == 0, err
    with Image.open(tmp_path / "scores.png") as picture:
        assert min(picture.size) > 300
    code, _, err = ended("score", digits_run, "-o", tmp_path / "scores.csv")
    ranks = np.array([float(row["rank"]) for row in rows_of(tmp_path / "scores.csv")])
    assert 0.4 < ranks.mean() < 0.6


def test_what_cannot_be_scored_is_refused(digits_run, folder, tmp_path, ended):
    for arguments, words in (
        (("--normal", "dark"), "the classes of the data are middle, noise"),
        (("--normal", "middle", "noise"), "nothing to tell"),
        (("--quantile", "2"), "from 0 to 1"),
        (("--kind", "novelty"), "novelty"),
    ):
        code, _, err = ended("score", digits_run, folder, "-o", tmp_path / "x.csv", *arguments)
        assert code != 0 and words in err
    np.save(tmp_path / "rows.npy", np.zeros((3, 8, 8, 1), "float32"))
    code, _, err = ended("score", digits_run, tmp_path / "rows.npy", "-o", tmp_path / "x.csv", "--normal", "0")
    assert code != 0 and "labels" in err
    file = digits_run / "vae.keras"
    code, _, err = ended("score", file, tmp_path / "rows.npy", "-o", tmp_path / "x.csv", "--kind", "typicality")
    assert code != 0 and "run folder" in err
    assert not (tmp_path / "x.csv").exists()
    code, out, err = ended("score", file, tmp_path / "rows.npy", "-o", tmp_path / "x.csv")
    assert code == 0 and "no ranks" in out and list(rows_of(tmp_path / "x.csv")[0]) == ["name", "score"]
