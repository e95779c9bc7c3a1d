"""The first lines that a user sees are not about CUDA drivers and CPU instructions."""

import os
import subprocess
import sys

import pytest

from keras_vae import startup

FIT = """
import numpy as np, keras_vae as kv, tensorflow as tf
from keras_vae import likelihoods, networks, posteriors, priors
vae = kv.VAE(
    kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(2)),
    kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((4, 4, 1))),
    priors.StandardNormal(2),
)
vae.compile("adam")
vae.fit(np.zeros((8, 4, 4, 1), "float32"), verbose=0)
vae.sample(2)
tf.transpose(tf.zeros((1, 2), "int32"))  # as the graphs of longer trainings do
"""


def said(code: str, level: str | None = None) -> str:
    """What a fresh process writes to stderr."""
    environment = {key: value for key, value in os.environ.items() if key != startup.LEVEL}
    environment |= {} if level is None else {startup.LEVEL: level}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def test_a_fresh_process_that_trains_says_nothing_but_its_own():
    code = "import os, sys" + FIT + "print('mine', os.environ['TF_CPP_MIN_LOG_LEVEL'], file=sys.stderr)"
    assert said(code) == "mine 2\n"


@pytest.mark.slow
def test_whoever_asks_for_the_messages_of_tensorflow_gets_them():
    assert "oneDNN" in said("import keras_vae", "0")
    assert said("import keras_vae", "3") == ""
    # Nothing of what was imported before is touched.
    code = "import tensorflow, os, sys, keras_vae; print(os.environ.get('TF_CPP_MIN_LOG_LEVEL'), file=sys.stderr)"
    assert said(code).endswith("None\n")


def test_errors_are_no_noise(capfd):
    noise = [
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
        "I0000 00:00:1795728205.896941   10222 port.cc:153] oneDNN custom operations are on.",
        "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow",
        "E0000 00:00:1795.1 1 cuda_fft.cc:477] Unable to register cuFFT factory: Attempting to register factory for",
        "2026-11-26 12:00:00.5: I tensorflow/core/util/port.cc:113] oneDNN custom operations are on.",
        "E0000 00:00:1.1 1 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: UNKNOWN ERROR (303)",
        "E0000 00:00:1.1 1 util.cc:131] oneDNN supports DT_INT32 only on platforms with AVX-512. Falling back to the",
    ]
    errors = [
        "E0000 00:00:1.1 1 cuda_platform.cc:52] failed call to cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)",
        "mine.py:1: RuntimeWarning: something",
    ]
    with startup._held_back():
        os.write(2, "\n".join([*noise, *errors, ""]).encode())
    assert capfd.readouterr().err.splitlines() == errors
    with pytest.raises(ImportError), startup._held_back():
        os.write(2, noise[1].encode())
        raise ImportError
    assert "oneDNN" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("line", "may"), [("flags : fpu sse avx avx2", False), ("flags : fpu sse", True), ("Features : fp", False)]
)
def test_where_tensorflow_would_end_the_process_it_is_heard(tmp_path, line, may):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{line}\n")
    assert startup.may_abort(tmp_path / "cpuinfo") is may
    assert not startup.may_abort(tmp_path / "none")
