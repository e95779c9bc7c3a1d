"""`configs`, `parts`, `info` and `compare`: what they show, and that they need no TensorFlow."""

import json
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from keras_vae_cli import catalogue
from keras_vae_cli.errors import ConfigError
from keras_vae_cli.looks import compare
from keras_vae_cli.looks import configs as configs_look


def test_every_config_has_a_line_and_can_be_shown(ended):
    code, out, _ = ended("configs")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    folder = catalogue.configs_folder()
    assert set(lines) == {str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml")}
    assert code == 0 and all(lines.values())
    for name, line in lines.items():
        comment = re.sub(r"\n#\s*", " ", (folder / f"{name}.yaml").read_text())
        assert line.removesuffix(" ...").removesuffix(".") in " ".join(comment.split()), name
    for words in (["configs", "show", "mnist"], ["configs", "mnist"]):
        code, out, _ = ended(*words)
        assert code == 0 and out.strip() == (folder / "mnist.yaml").read_text().strip()
    code, _, err = ended("configs", "show", "mnits")
    assert code == 2 and "Did you mean mnist?" in err


def test_what_is_no_text_is_not_shown(tmp_path, ended):
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n")
    for words in (["configs", "show"], ["configs"]):
        code, _, err = ended(*words, tmp_path / "photo.png")
        assert code == 2 and "photo.png is not a YAML file" in err


def test_the_head_of_a_config_is_its_first_sentence(tmp_path):
    (tmp_path / "a.yaml").write_text("# Kim et al. 2018,\n# the first. Another.\n#\n# Promise: x\ndata: {}\n")
    assert configs_look.head(tmp_path / "a.yaml") == "Kim et al. 2018, the first."


def test_every_part_is_listed_with_its_arguments_and_a_line(ended):
    code, out, _ = ended("parts")
    assert code == 0
    for kind, parts in catalogue.parts().items():
        for name, part in parts.items():
            assert f"\n  {name}(" in out and part.line, name
            assert part.line.endswith((".", ":")) and len(part.line) < 220, (name, part.line)
        _, own, _ = ended("parts", kind)
        assert set(own.splitlines()) <= set(out.splitlines())
    assert "NormalMixture(num_components)" in out and "RealNVP(num_layers=8, units=(128, 128))" in out
    code, out, _ = ended("parts", "RealNVP")
    assert code == 0 and "{name: RealNVP, num_layers: 8, units: [128, 128]}" in out and "num_layers: number of" in out
    code, _, err = ended("parts", "gmm")
    assert code == 2 and "Did you mean NormalMixture?" in err


def test_what_parts_says_of_a_part_can_be_put_into_a_config():
    from keras_vae_cli.looks import parts

    for part in catalogue.parts()["prior"].values():
        line = next(line for line in parts.listed(part.name).splitlines() if line.startswith("In a config:"))
        made = yaml.safe_load(line.partition("model.prior: ")[2])
        assert made.pop("name") == part.name and set(made) == {a.name for a in part.given}


def test_a_run_at_a_glance(digits_run, labelled_run, tmp_path, ended):
    code, out, err = ended("info", digits_run)
    assert code == 0, err
    report = json.loads((digits_run / "report.json").read_text())["training"]
    for text in (
        f"{digits_run}, finished",
        "digits, 1,797 examples, each 8 x 8 x 1, binarized (threshold)",
        "mlp(units=[8]) -> MultivariateNormalDiag, 2 latent dimensions",
        "StandardNormal",
        "mlp(units=[8]) -> Bernoulli",
        f"{report['weights']:,} weights, {report['steps']:,} steps",
        f"test        elbo {report['test_elbo']:.5g}",
        "not evaluated yet: keras-vae evaluate",
        "nothing yet: keras-vae export",
        "samples",
    ):
        assert text in out, text
    code, out, err = ended("info", labelled_run)
    assert code == 0 and "3 classes: dark, light, middle" in out, err
    shutil.copytree(digits_run, tmp_path / "run")
    (tmp_path / "run/report.json").unlink()
    (tmp_path / "run/export/saved_model/3").mkdir(parents=True)
    (tmp_path / "run/export/decoder.tflite").write_bytes(bytes(2000))
    _, out, _ = ended("info", tmp_path / "run")
    assert "not finished: vae.keras is its best model so far" in out
    assert "export/saved_model/3 (0 kB), export/decoder.tflite (2 kB)" in out


def test_what_a_report_of_a_fault_needs_is_one_command(digits_run, tmp_path, ended, monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_auto_jit=0")
    code, out, err = ended("info", "--bug")
    assert code == 0, err
    for text in (
        f"python {platform.python_version()}",
        "tensorflow 2.",
        "keras 3.",
        "TF_XLA_FLAGS=--tf_xla_auto_jit=0",
    ):
        assert text in out, text
    assert out.startswith("```\n") and out.endswith("\n```\n")
    shutil.copytree(digits_run, tmp_path / "run")
    values = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    values["train"]["start_from"] = "/home/somebody/secret"
    (tmp_path / "run/config.yaml").write_text(yaml.safe_dump(values))
    code, out, err = ended("info", tmp_path / "run", "--bug")
    assert code == 0, err
    steps = json.loads((digits_run / "report.json").read_text())["training"]["steps"]
    assert '"latent_dim": 2' in out and f"finished, {steps} steps, 0 skipped" in out
    assert "secret" not in out and str(tmp_path) not in out
    code, _, err = ended("info")
    assert code == 2 and "keras-vae info --bug" in err


@pytest.fixture
def seeds(tmp_path):
    """Runs with three seeds of one config, and with one of another; of figures that are known."""

    def make(name, seed, elbo, **changes):
        run = tmp_path / name
        run.mkdir()
        values = {"data": {"name": "digits"}, "model": {"latent_dim": 2}, "train": {"seed": seed, **changes}}
        (run / "config.yaml").write_text(yaml.safe_dump(values))
        report = {"finished": True, "training": {"test_elbo": elbo, "test_kl": 3.0, "seconds": 5.0}}
        (run / "report.json").write_text(json.dumps(report))
        (run / "data.json").write_text(json.dumps({"fingerprint": {"shape": [8, 8, 1]}}))
        return run

    return [make(f"a{seed}", seed, -20.0 - seed) for seed in range(3)] + [make("b", 0, -19.0, epochs=3)]


def test_runs_that_differ_in_their_seed_are_one_row_with_a_standard_error(seeds, ended):
    rows = compare.summary(seeds)
    assert [len(row.runs) for row in rows] == [3, 1]
    assert rows[0].means["elbo"] == pytest.approx(-21.0)
    assert rows[0].errors["elbo"] == pytest.approx(np.std([-20, -21, -22], ddof=1) / np.sqrt(3))
    assert rows[0].errors["kl"] == 0 and rows[1].errors == {}
    assert rows[0].differs == {"train.epochs": "50"} and rows[1].differs == {"train.epochs": "3"}
    code, out, _ = ended("compare", *seeds)
    assert code == 0
    assert f"{seeds[0].parent}/a*" in out and max(map(len, out.splitlines())) > 80
    assert "-21.00 ± 0.58" in out and "0 1 2" in out and "-19" in out
    assert "train.epochs: 50" in out and "standard error" in out


def test_a_setting_that_only_a_later_row_has_differs(seeds, ended):
    values = yaml.safe_load((seeds[3] / "config.yaml").read_text())
    values["train"]["optimizer_arguments"] = {"beta_1": 0.5}
    (seeds[3] / "config.yaml").write_text(yaml.safe_dump(values))
    code, out, err = ended("compare", *seeds)
    assert code == 0, err
    assert f"train.optimizer_arguments.beta_1: None ({seeds[0].parent}/a*), 0.5 ({seeds[3]})" in out


@pytest.mark.parametrize("values", [[np.nan] * 3, [-20.0, np.inf, -22.0], [np.inf, -np.inf, 0.0]])
def test_figures_that_are_not_finite_are_shown(seeds, ended, values):
    for run, value in zip(seeds, values, strict=False):
        report = json.loads((run / "report.json").read_text())
        report["training"]["test_elbo"] = value
        (run / "report.json").write_text(json.dumps(report))
    code, out, err = ended("compare", *seeds)
    assert code == 0, err
    assert "nan ± ?" in out and "3.00 ± 0.00" in out
    code, out, err = ended("compare", seeds[1])
    assert code == 0 and f"{values[1]:.4g}" in out, err


def test_a_report_may_lack_a_section(seeds, ended):
    (seeds[0] / "report.json").write_text(json.dumps({"finished": True, "training": None, "test": None}))
    for verb in ("info", "compare"):
        code, _, err = ended(verb, seeds[0])
        assert code == 0, err
    (seeds[0] / "report.json").write_text(json.dumps({"finished": True, "training": [1]}))
    for verb in ("info", "compare"):
        code, _, err = ended(verb, seeds[0])
        assert code == 2 and "report.json is damaged: training is no mapping" in err


def test_runs_that_cannot_be_compared_are_refused(seeds, tmp_path, ended):
    with pytest.raises(ConfigError, match="is given twice"):
        compare.summary([seeds[0], seeds[0]])
    (seeds[1] / "data.json").write_text(json.dumps({"fingerprint": {"shape": [9, 9, 1]}}))
    assert "! The runs were trained on different data" in ended("compare", *seeds)[1]
    (seeds[1] / "report.json").write_text("{}")
    code, _, err = ended("compare", *seeds)
    assert code == 2 and "a1 is not finished: leave it out" in err
    (seeds[1] / "report.json").write_text("{")
    code, _, err = ended("compare", *seeds)
    assert code == 2 and "report.json is damaged" in err
    code, _, err = ended("compare", tmp_path / "nowhere", seeds[0])
    assert code == 2 and "no run folder" in err
    for verb in ("info", "compare"):
        code, out, err = ended(verb)
        assert code == 2 and "RUN" in out + err


def test_looks_and_refusals_do_not_wait_for_tensorflow(digits_run, tmp_path):
    (tmp_path / "there.npz").write_text("")
    calls = [
        ["configs"],
        ["parts"],
        ["info", str(digits_run)],
        ["compare", str(digits_run)],
        ["--version"],
        ["sample", str(digits_run), "-o", str(tmp_path / "there.npz")],
        ["encode", "nowhere", "-o", "x.npz"],
        ["train", "--more", "3", "--run", "nowhere"],
    ]
    check = """
import json, sys
from keras_vae_cli.main import main
for call in json.loads(sys.argv[1]):
    try:
        main(call)
    except SystemExit as end:
        print("ended", end.code)
print("tensorflow" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", check, json.dumps(calls)], capture_output=True, text=True)
    assert result.returncode == 0 and "Traceback" not in result.stderr, result.stderr
    ends = [line for line in result.stdout.splitlines() if line.startswith("ended")]
    assert ends == [*["ended 0"] * 5, *["ended 2"] * 3] and result.stdout.splitlines()[-1] == "False"


VERBS = [
    *("train", "evaluate", "plot", "export", "compare", "info", "sample", "encode", "reconstruct"),
    *("impute", "interpolate", "score", "explore", "ids", "decode", "compress", "decompress", "configs", "parts"),
]


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_has_an_example(verb, ended):
    code, out, _ = ended(verb, "--help")
    assert code == 0 and f"Example: keras-vae {verb}" in " ".join(out.split())


@pytest.mark.parametrize(
    ("typed", "meant"), [("trian", "train"), ("sampel", "sample"), ("generate", "sample"), ("embed", "encode")]
)
def test_a_verb_that_does_not_exist_is_answered_with_one_that_does(typed, meant, ended):
    code, out, err = ended(typed, "runs/digits")
    assert code == 2 and f'Did you mean "{meant}"?' in " ".join((out + err).split())


def test_the_commands_that_the_documentation_names_exist():
    root = Path(__file__).parents[2]
    for page in (root / "README.md", root / "docs/command_line.md", root / "docs/training.md"):
        named = set(re.findall(r"keras-vae ([a-z]+)", page.read_text("utf-8")))
        assert named and named <= set(VERBS), page


def test_completion_is_there_for_shells(tmp_path, monkeypatch, ended):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    code, out, err = ended("--install-completion", "--shell", "bash")
    assert code == 0, out + err
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert any("reconstruct" in text and "keras-vae" in text for text in written)
