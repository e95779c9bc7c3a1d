"""`benchmarks/gpu/`: compiled steps that JAX runs without TensorFlow."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
GPU = BENCHMARKS / "gpu"
PEERS = [sys.executable, os.environ.get("KERAS_VAE_PEERS", ""), str(BENCHMARKS / "peers" / "bin" / "python")]


@pytest.fixture
def ours(monkeypatch):
    """A function that gives a module of benchmarks/gpu."""
    monkeypatch.syspath_prepend(str(GPU))

    def find(name):
        sys.modules.pop(name, None)
        return __import__(name)

    yield find
    for name in ("flops", "kernels", "table"):
        sys.modules.pop(name, None)


def with_jax():
    """A Python that has JAX, or None."""
    for python in PEERS:
        if python and Path(python).exists():
            code = "import importlib.util as u, sys; sys.exit(u.find_spec('jax') is None)"
            if subprocess.run([python, "-c", code], check=False).returncode == 0:
                return python
    return None


MODULE = """
module @step {
  func.func private @inner(%arg0: tensor<4x3xf32>, %arg1: tensor<3x5xf32>) -> tensor<4x5xf32> {
    %0 = stablehlo.dot %arg0, %arg1 : (tensor<4x3xf32>, tensor<3x5xf32>) -> tensor<4x5xf32>
    return %0 : tensor<4x5xf32>
  }
  func.func @main(%arg0: tensor<4x3xf32>) -> tensor<4x5xf32> {
    %1 = call @inner(%arg0, %0) : (tensor<4x3xf32>, tensor<3x5xf32>) -> tensor<4x5xf32>
    %2 = call @inner(%arg0, %0) : (tensor<4x3xf32>, tensor<3x5xf32>) -> tensor<4x5xf32>
    OPERATION
    return %2 : tensor<4x5xf32>
  }
}
"""
BATCHED = (
    "%3 = stablehlo.dot_general %a, %b, batching_dims = [0] x [0], contracting_dims = [2] x [1], "
    "precision = [DEFAULT, DEFAULT] : (tensor<8x5x7xf32>, tensor<8x7x3xf32>) -> tensor<8x5x3xf32>"
)
STRIDED = (
    "%3 = stablehlo.convolution(%a, %b) dim_numbers = [b, 0, f]x[0, i, o]->[b, 0, f], "
    "window = {stride = [2], pad = [[1, 1]]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64} : "
    "(tensor<2x8x3xf32>, tensor<3x3x4xf32>) -> tensor<2x4x4xf32>"
)
DILATED = (
    "%3 = stablehlo.convolution(%a, %b) dim_numbers = [b, 0, f]x[0, i, o]->[b, 0, f], "
    "window = {pad = [[2, 1]], lhs_dilate = [2]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64} : "
    "(tensor<2x4x3xf32>, tensor<3x3x4xf32>) -> tensor<2x8x4xf32>"
)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("", 0),
        (BATCHED, 2 * 8 * 5 * 7 * 3),
        # Of 4 places with 3 values each, one lies outside.
        (STRIDED, 2 * 11 * 2 * 3 * 4),
        # The 8 values of a transposed convolution of stride 2: every input meets each of the three weights, but
        # that at the right end.
        (DILATED, 2 * (4 * 3 - 1) * 2 * 3 * 4),
    ],
)
def test_operations_are_those_of_products_and_of_convolutions_without_padding_and_holes(ours, operation, expected):
    flops = ours("flops")
    assert flops.count(MODULE.replace("OPERATION", operation)) == 2 * (2 * 4 * 3 * 5) + expected


def test_products_in_loops_are_refused(ours):
    with pytest.raises(ValueError, match="loop"):
        ours("flops").count(MODULE.replace("OPERATION", "%3 = stablehlo.while(%iterArg = %c) : tensor<i32>"))


def test_the_longest_kernels_are_those_of_the_device(ours, tmp_path):
    def named(kind, pid, name, tid=0):
        return {"ph": "M", "name": f"{kind}_name", "pid": pid, "tid": tid, "args": {"name": name}}

    def event(pid, tid, name, dur):
        return {"ph": "X", "pid": pid, "tid": tid, "name": name, "dur": dur}

    places = [named("process", 1, "/device:GPU:0"), named("thread", 1, "Stream #7(Compute)", 7)]
    places += [named("thread", 1, "XLA Modules", 8), named("process", 2, "/host:CPU")]
    events = [event(1, 7, "gemm", 30.0), event(1, 7, "add", 10.0), event(1, 7, "gemm", 60.0)]
    events += [event(1, 8, "jit_step", 500.0), event(2, 1, "launch", 900.0)]
    path = tmp_path / "plugins" / "a.trace.json.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(json.dumps({"traceEvents": places + events}).encode()))
    first, second = ours("kernels").longest(tmp_path, steps=2)
    assert first == {"name": "gemm", "us": 45.0, "share": 0.9, "calls": 1.0}
    assert second["name"] == "add"
    with pytest.raises(RuntimeError, match="0 files"):
        ours("kernels").longest(tmp_path / "nothing", steps=2)


@pytest.mark.slow
@pytest.mark.skipif(with_jax() is None, reason="no JAX here, nor among the peers: see benchmarks/requirements.txt")
def test_jax_runs_what_tensorflow_compiled_to_the_same_numbers(tmp_path):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    files, out = tmp_path / "files", tmp_path / "out"
    options = ["--small", "--models", "conv", "--precisions", "float32", "mixed_bfloat16", "--batch-sizes", "16", "32"]
    write = [sys.executable, GPU / "write.py", files, *options]
    subprocess.run(write, check=True, env=environment, timeout=300)
    run = [with_jax(), GPU / "run.py", files, "--out", out, "--product", "64", "--each", "0.01"]
    done = subprocess.run(run, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((out / "results.json").read_text())
    assert found["failed"] == [] and len(found["cases"]) == 2, done.stdout
    for name, case in found["cases"].items():
        assert case["sizes"].keys() >= {"16", "32"}
        assert all(speed["images/s"] > 0 and speed["FLOP/s"] > 0 for speed in case["sizes"].values())
        assert case["kernels"]["32"]
        for differences in case["differences"].values():
            most = 1e-5 if "float32" in name else 5e-2
            assert differences["loss"] <= most and differences["weights"] <= most, (name, differences)
            assert differences["counts"] == {}
    assert "| conv | float32, highest | " in (out / "table.md").read_text()
