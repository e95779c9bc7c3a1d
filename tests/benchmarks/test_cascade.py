"""The benchmark of CascadeVAE: the authors' networks and stages, and looks that go on where they stopped."""

import argparse
import importlib.util
from pathlib import Path

import pytest

from keras_vae import data
from keras_vae.data.shapes import FactorGrid, factors_of, order_of

PATH = Path(__file__).parents[2] / "benchmarks" / "cascade.py"
SPEC = importlib.util.spec_from_file_location("benchmark_of_cascade", PATH)
cascade = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(cascade)

GRID = "shapes/size=16,scales=2,orientations=2,positions=4"


@pytest.fixture
def sprites():
    images = data.read_all(GRID)
    grid = FactorGrid.parse(GRID)
    return images, factors_of(order_of(grid), grid)


def options_for(folder, until=None):
    return argparse.Namespace(runs=folder, steps=300, until=until, grid=GRID, learning_rate=1e-4, low=cascade.LOW)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cascade", "factor"])
def test_a_run_that_was_stopped_goes_on_with_the_same_looks(tmp_path, sprites, method, monkeypatch):
    images, factors = sprites
    monkeypatch.setattr(cascade, "LOOKS", 3)
    cascade.train(method, 0, options_for(tmp_path / "whole"), images, factors)
    cascade.train(method, 0, options_for(tmp_path / "parts", until=100), images, factors)
    first = cascade.looks_of(tmp_path / "parts" / f"{method}-0")
    cascade.train(method, 0, options_for(tmp_path / "parts"), images, factors)
    whole, parts = (cascade.looks_of(tmp_path / folder / f"{method}-0") for folder in ("whole", "parts"))
    assert [row["step"] for row in first] == [100] and [row["step"] for row in whole] == [100, 200, 300]
    assert all(row.pop("minutes") > 0 for row in [*whole, *parts, *first])
    assert whole == parts and parts[:1] == first
    best = max(row["score"] for row in whole)
    assert f"| {method}-0 | 300 | {whole[-1]['score']:.3f} | {best:.3f} |" in cascade.table(tmp_path / "whole")
    assert (tmp_path / "parts" / f"{method}-0" / "best.keras").exists()


def test_the_code_is_off_until_the_fifth_of_fifteen_stages():
    vae = cascade.make("cascade", 0, 300_000, 64)
    vae.build()
    assert vae.objective.stage == 20_000 and vae.switch_on == 80_000 and vae.objective.low == 0.1
    assert cascade.make("cascade", 0, 300_000, 64, low=1.0).objective.low == 1.0
    # The authors' networks with six latents and three classes, and a 1x1 convolution of one map.
    encoder = 16 * (1 * 32 + 32 * 32 + 32 * 64 + 64 * 64) + 192 + (1024 + 1) * 256 + (256 + 1) * 12
    decoder = (9 + 1) * 256 + (256 + 1) * 1024 + 16 * (64 * 64 + 64 * 32 + 32 * 32 + 32) + 129 + 2
    assert (
        vae.count_params() - sum(v.value.shape.num_elements() for v in vae.non_trainable_variables) == encoder + decoder
    )
