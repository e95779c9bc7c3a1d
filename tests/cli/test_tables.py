"""Tables whose columns have kinds, as they are typed."""

import csv
import json

import numpy as np
import pytest
import yaml

from keras_vae import data, evaluation, load
from keras_vae.data.tables import frames

SMALL = ["train.epochs=2", "model.latent_dim=2", "export.formats=[]", "data.batch_size=32"]
SMALL += ["model.encoder={name: mlp, units: [8]}", "model.decoder={name: mlp, units: [8]}"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["height", "visits", "colour", "smokes"])
        for _ in range(120):
            colour, smokes = ["blue", "red"][rng.integers(2)], ["no", "yes"][rng.integers(2)]
            writer.writerow([round(rng.normal(170, 10), 1), rng.poisson(9) * 2, colour, smokes])
    return path


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_table_is_learned_and_rows_of_it_are_drawn(table, tmp_path, ended):
    run = tmp_path / "run"
    code, _, err = ended("train", "table", "--run", run, "--set", *SMALL, "data.name=null", f"data.path={table}")
    assert code == 0, err
    schema = yaml.safe_load((run / "config.yaml").read_text())["data"]["schema"]
    assert schema == data.schema_of(table)
    assert {"marginals.png", "pairs.png"} <= {path.name for path in (run / "pictures").iterdir()}
    # The same command, whose schema is inferred anew, is the same run.
    code, _, err = ended("train", "table", "--run", run, "--set", *SMALL, "data.name=null", f"data.path={table}")
    assert code == 0, err
    code, _, err = ended("sample", run, "-n", 30, "-o", tmp_path / "rows.csv")
    assert code == 0, err
    rows = read(tmp_path / "rows.csv")
    assert len(rows) == 30 and list(rows[0]) == ["height", "visits", "colour", "smokes"]
    assert all(row["visits"].isdecimal() and row["colour"] in ("blue", "red") for row in rows)
    drawn = load(run / "vae.keras").sample(30, seed=0, noise=True)
    np.testing.assert_array_equal(np.array([row["height"] for row in rows]).astype("float32"), drawn[:, 0])
    for command, output in (("reconstruct", "made.csv"), ("encode", "codes.npz"), ("sample", "rows.parquet")):
        given = [] if command == "sample" else [tmp_path / "rows.csv"]
        code, _, err = ended(command, run, *given, "-o", tmp_path / output)
        assert code == 0, err
    assert {row["smokes"] for row in read(tmp_path / "made.csv")} <= {"no", "yes"}
    (tmp_path / "strange.csv").write_text("height,visits,colour,smokes\n170,3,green,no\n")
    code, _, err = ended("encode", run, tmp_path / "strange.csv", "-o", tmp_path / "strange.npz")
    assert code != 0 and "Column 'colour' holds 'green'" in err


def test_a_column_is_a_condition_and_draws_have_it_exactly(table, tmp_path, ended):
    run, given = tmp_path / "run", ["data.name=null", f"data.path={table}", "data.condition=[colour]"]
    code, _, err = ended("train", "table", "--run", run, "--set", *SMALL, *given)
    assert code == 0, err
    vae = load(run / "vae.keras")
    assert vae.condition.names == ("blue", "red") and "colour" not in vae.decoder.likelihood.schema
    code, _, err = ended("sample", run, "-n", 20, "-o", tmp_path / "rows.csv", "--condition", "colour=red")
    assert code == 0, err
    assert [row["colour"] for row in read(tmp_path / "rows.csv")] == ["red"] * 20
    code, _, err = ended("encode", run, table, "-o", tmp_path / "codes.npz")
    assert code == 0, err


def test_columns_of_numbers_are_conditions_and_draws_have_them_exactly(table, tmp_path, ended):
    run, given = tmp_path / "run", ["data.name=null", f"data.path={table}", "data.condition=[height, colour]"]
    code, _, err = ended("train", "table", "--run", run, "--set", *SMALL, *given)
    assert code == 0, err
    vae = load(run / "vae.keras")
    assert vae.condition.names_of_columns == ["height", "colour"]
    assert list(vae.decoder.likelihood.schema) == ["visits", "smokes"]
    arguments = ("sample", run, "-n", 20, "-o", tmp_path / "rows.csv", "--condition")
    code, _, err = ended(*arguments, "colour=red", "height=171.5")
    assert code == 0, err
    rows = read(tmp_path / "rows.csv")
    assert [(row["height"], row["colour"]) for row in rows] == [("171.5", "red")] * 20
    drawn = vae.sample(20, seed=0, noise=True, condition={"height": 171.5, "colour": "red"})
    assert [int(row["visits"]) for row in rows] == drawn[:, 0].tolist()
    for typed, message in (
        (["colour=red"], "Column 'height' is a condition, and has no value"),
        (["colour=red", "height=tall"], "Column 'height' is real, and 'tall' is no number"),
        (["colour=green", "height=3"], "Column 'colour' holds one of ['blue', 'red'], not 'green'"),
        (["colour=red", "height=3", "age=4"], "The condition has no column 'age'"),
        (["3", "1"], "as NAME=VALUE"),
    ):
        code, _, err = ended(*arguments, *typed, "--force")
        assert code != 0 and message in " ".join(err.split()), err
    code, _, err = ended("encode", run, table, "-o", tmp_path / "codes.npz")
    assert code == 0, err


def test_gaps_of_a_table_are_filled_with_values_of_their_columns(table, tmp_path, ended):
    lines = table.read_text().splitlines()
    cells = [line.split(",") for line in lines]
    for k in range(1, len(cells), 3):
        cells[k][k % 4] = ""
    (tmp_path / "gaps.csv").write_text("\n".join(map(",".join, cells)) + "\n")
    run, given = tmp_path / "run", ["data.name=null", f"data.path={tmp_path / 'gaps.csv'}", "data.missing=true"]
    code, _, err = ended("train", "table", "--run", run, "--set", *SMALL, *given)
    assert code == 0, err
    code, _, err = ended("impute", run, tmp_path / "gaps.csv", "-o", tmp_path / "filled.csv", "-n", 5)
    assert code == 0, err
    filled = read(tmp_path / "filled.csv")
    assert len(filled) == 120 and all(row["colour"] in ("blue", "red") and row["height"] for row in filled)
    for row, before in zip(filled, cells[1:], strict=True):
        assert all(
            not cell or value == cell or float(value) == float(cell)
            for value, cell in zip(row.values(), before, strict=True)
        )
    # Scores of rows with gaps are those of the model, and what is evaluated is of what is there.
    code, _, err = ended("score", run, tmp_path / "gaps.csv", "-o", tmp_path / "scores.csv")
    assert code == 0, err
    vae, schema = load(run / "vae.keras"), yaml.safe_load((run / "config.yaml").read_text())["data"]["schema"]
    x = frames.array(tmp_path / "gaps.csv", schema, missing=True)
    found = [float(row["score"]) for row in read(tmp_path / "scores.csv")]
    np.testing.assert_allclose(found, evaluation.scores(vae, x), rtol=1e-5)
    code, out, err = ended("evaluate", run, "--data", tmp_path / "gaps.csv")
    assert code == 0, err
    report = json.loads((run / "report.json").read_text())
    assert np.isfinite(report["test"]["elbo"]) and "log p(x)" in out


def test_rows_in_an_npy_file_are_a_table_by_the_schema_of_the_config(tmp_path, ended):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "rows.npy", np.stack([rng.normal(170, 10, 90), rng.integers(0, 2, 90)], axis=1))
    given = ["data.name=null", f"data.path={tmp_path / 'rows.npy'}"]
    code, _, err = ended("train", "table", "--run", tmp_path / "no", "--set", *SMALL, *given)
    assert code != 0 and "data.schema" in err
    schema = "data.schema={height: real, colour: {category: [blue, red]}}"
    run = tmp_path / "run"
    code, _, err = ended("train", "table", "--run", run, "--set", *SMALL, *given, schema)
    assert code == 0, err
    code, _, err = ended("sample", run, "-n", 9, "-o", tmp_path / "rows.csv")
    assert code == 0, err
    assert {row["colour"] for row in read(tmp_path / "rows.csv")} <= {"blue", "red"}
    code, _, err = ended("encode", run, tmp_path / "rows.npy", "-o", tmp_path / "codes.npz")
    assert code == 0, err
