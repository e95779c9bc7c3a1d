"""Terminals that lack characters, readers that go, and no output at all."""

import io
import os
import subprocess
import sys

import pytest

from keras_vae_cli import output

PROGRAM = [sys.executable, "-c", "from keras_vae_cli.main import main; main()"]


@pytest.mark.parametrize(
    ("encoding", "seen"),
    [
        ("ascii", "1 +- 2 \\xe9 \\u65e5 \\udce9"),
        ("latin-1", "1 ± 2 é \\u65e5 \\udce9"),
        ("utf-8", "1 ± 2 é 日 \\udce9"),
    ],
)
def test_characters_that_a_terminal_lacks_are_replaced(monkeypatch, encoding, seen):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    with output.lasting():
        print("1 ± 2 é 日 \udce9", end="")
    assert raw.getvalue().decode(encoding) == seen


def test_a_reader_that_has_gone_ends_nothing(monkeypatch):
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        os.close(reading)
        monkeypatch.setattr(sys, "stdout", stream)
        written = 0
        with output.lasting():
            for _ in range(3):
                print("x" * 100_000, flush=True)
                written += 1
        stream.close()
    assert written == 3
    monkeypatch.setattr(sys, "stdout", None)
    with output.lasting():
        print("nobody reads this")
        written += 1
    assert written == 4


@pytest.mark.parametrize(
    "shell", ["{} --help | true", "{} --help >&-", "{} plot nowhere 2>&-", "{} --help > /dev/full"]
)
def test_commands_end_as_they_would_with_a_reader(shell):
    line = shell.format("python -c 'from keras_vae_cli.main import main; main()'")
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}  # noqa: PTH120
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, env=environment, timeout=60
    )
    assert ended.returncode == (2 if "plot" in shell else 0), ended.stderr
    assert ended.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "C"}],
)
def test_a_run_on_a_terminal_of_few_characters_is_trained_and_evaluated(tmp_path, environment):
    """In a folder whose name is no ASCII, with markup and an emoji of rich, to a reader that goes after one line."""
    environment = {**os.environ, **environment}
    small = ["model.latent_dim=2", "model.encoder.units=[8]", "model.decoder.units=[8]", "export.formats=[]"]
    run = tmp_path / "näher [/b] :smile: 日"
    for arguments in (
        ["train", "--set", *small, "train.epochs=1", "--run", run],
        ["evaluate", run, "--num-samples", "2"],
        ["plot", run],
    ):
        ended = subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, env=environment)
        assert ended.returncode == 0, ended.stderr
        assert b"[/b] :smile:" in ended.stdout and b"Traceback" not in ended.stderr
    assert (run / "report.json").read_text("utf-8")
    exported = subprocess.run([*PROGRAM, "export", str(run)], capture_output=True, env=environment)
    assert exported.returncode == 1 and b"no SavedModel below a folder with one of [ ] * ?" in exported.stderr


@pytest.mark.slow
def test_training_goes_on_without_its_reader(tmp_path):
    small = ["model.latent_dim=2", "model.encoder.units=[8]", "model.decoder.units=[8]", "export.formats=[]"]
    arguments = ["train", "--set", *small, "train.epochs=3", "--run", str(tmp_path / "run")]
    process = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert b"training" in process.stdout.readline()
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=120) == 0
    assert '"finished": true' in (tmp_path / "run" / "report.json").read_text()
