"""`keras-vae explore` as it is typed."""

import numpy as np
import pytest
from small_models import make_vae

from keras_vae_cli.main import main


def run(*arguments):
    """Its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["explore", *map(str, arguments)])
    return ended.value.code


@pytest.fixture
def model(tmp_path):
    vae = make_vae()
    vae.build()
    vae.save(tmp_path / "vae.keras")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((8, 8, 8, 1)).round().astype("float32"))
    return tmp_path


def test_a_page_is_written_and_it_is_said_what_was_checked(model, capsys):
    page = model / "page.html"
    assert run(model / "vae.keras", model / "x.npy", "-o", page) == 0
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    said = " ".join(capsys.readouterr().out.split())
    assert "hecked" in said and ("by at most" in said or "no Chromium" in said)
    assert run(model / "vae.keras", model / "x.npy", "-o", page) == 2
    assert "--force" in capsys.readouterr().err


def test_without_a_browser_it_is_said(model, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(model))
    monkeypatch.delenv("CHROME", raising=False)
    assert run(model / "vae.keras", model / "x.npy", "-o", model / "page.html") == 0
    assert "Not checked: there is no Chromium" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments, word", [(["-o", "page.png"], ".html"), ([], "--output")])
def test_places_that_are_no_page_are_refused(model, arguments, word, capsys):
    assert run(model / "vae.keras", *arguments) == 2
    assert word in capsys.readouterr().err
