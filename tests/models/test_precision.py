"""Half precision learns what float32 learns: each row of the table of constructors, on real data."""

import keras
import numpy as np
import parts
import pytest

import keras_vae as kv
from keras_vae_cli import settings
from keras_vae_cli.commands import build

STEPS, BATCH = 200, 64
# Likelihoods whose ELBO still rises by half a percent in each of the last steps: float32 itself, from weights that
# are a thousandth off, misses its own result by more than one percent, and that is the measure.
STEEP = ("normal",)
BASE = {
    "posterior": "diag",
    "prior": "standard_normal",
    "likelihood": "bernoulli",
    "objective": "elbo",
    "network": "mlp",
}
TABLES = {
    "posterior": parts.POSTERIORS,
    "prior": parts.PRIORS,
    "likelihood": parts.LIKELIHOODS,
    "objective": parts.OBJECTIVES,
    "network": parts.NETWORKS,
}


def row(**changes):
    """A row that differs from the base in as little as possible."""
    if changes.get("objective") in parts.OF_ONE_KIND:
        changes["posterior"] = parts.OF_ONE_KIND[changes["objective"]]
    if changes.get("objective") in parts.PRIOR_OF_KIND:
        changes["prior"] = parts.PRIOR_OF_KIND[changes["objective"]]
    for posterior, prior in parts.PRIOR_OF.items():
        if prior == changes.get("prior"):
            changes["posterior"] = posterior
        if posterior == changes.get("posterior"):
            changes["prior"] = prior
    if changes.get("posterior") == "deterministic":
        changes["objective"] = "reconstruction"
    return {**BASE, **changes}


def evaluated(row, precision, images, monkeypatch, jitter=None):
    """The numbers of the last images after training on the others.

    `jitter` is the seed of a relative change of the weights at the start by about a thousandth.
    """
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(0)
    likelihood = parts.LIKELIHOODS[row["likelihood"]]((8, 8, 1))
    vae = kv.VAE(
        parts.encoder(row["network"], [64, 32], parts.POSTERIORS[row["posterior"]]()),
        parts.decoder(row["network"], [32, 64], likelihood),
        parts.PRIORS[row["prior"]](),
        parts.OBJECTIVES[row["objective"]](),
        seed=1,
    )
    train = settings.Train(precision=precision)
    vae.compile(build.make_optimizer(train, STEPS), steps_per_execution=10)
    if likelihood.levels is not None:
        x = np.round(images * (likelihood.levels - 1)) / (likelihood.levels - 1)
    else:
        # Densities of the levels themselves would grow without bound at the pixels that never change.
        x = ((16 * images + np.random.default_rng(0).random(images.shape)) / 17).astype("float32")
    if row["likelihood"] == "bernoulli":
        x = (x > 0.5).astype("float32")
    train, test = x[:-300], x[-300:]
    if vae.condition is None:
        data, held_out = kv.data.Arrays(train).stream(BATCH, seed=0), test
    else:
        # Any labels: what they tell is that the image has its right half bright.
        labels = (x[..., 4:, :].mean(axis=(1, 2, 3)) > x.mean()).astype("int32")
        data = kv.data.Arrays(train, labels[:-300]).stream(BATCH, seed=0)
        held_out = kv.data.Arrays(test, labels[-300:]).dataset(300)
    vae.adapt(train)
    if jitter is not None:
        random = np.random.default_rng(jitter)
        for weight in vae.trainable_variables:
            weight.assign(weight * (1 + 1e-3 * random.standard_normal(weight.shape).astype("float32")))
    vae.fit(data, steps_per_epoch=STEPS, epochs=1, verbose=0)
    options = {"batch_size": 300} if held_out is test else {}
    return vae.evaluate(held_out, **options, return_dict=True, verbose=0)


def check(row, images, monkeypatch):
    full = evaluated(row, "float32", images, monkeypatch)
    # An ELBO of densities goes through zero: what it is the difference of gives the measure.
    size = abs(full["log_likelihood"]) + full["kl"]
    # The KL is nothing that an autoencoder learns.
    name = "log_likelihood" if row["objective"] == "reconstruction" else "elbo"
    allowed = 0.01
    # And which code is the nearest, a jump, is decided by less than half precision knows.
    if row["likelihood"] in STEEP or row["posterior"] in parts.CODES:
        moved = [evaluated(row, "float32", images, monkeypatch, jitter=k)[name] - full[name] for k in range(3)]
        print(f"float32 from jittered weights {name}: {[f'{d / size:+.2%}' for d in moved]}", flush=True)
        allowed = max(allowed, 2 * max(map(abs, moved)) / size)
    for precision in ("mixed_float16", "mixed_bfloat16"):
        half = evaluated(row, precision, images, monkeypatch)
        off = (half[name] - full[name]) / size
        print(f"{precision} {name} {half[name]:.3f} against {full[name]:.3f}: {off:+.2%}", flush=True)
        assert abs(off) < allowed, precision


@pytest.fixture(scope="session")
def gray():
    from sklearn.datasets import load_digits

    return (load_digits().images[..., None] / 16).astype("float32")


ROWS = {f"{kind}-{name}": row(**{kind: name}) for kind, table in TABLES.items() for name in table}


@pytest.mark.slow
def test_half_precision_learns_what_float32_learns(gray, monkeypatch):
    different = row(posterior="tril", prior="mixture", likelihood="logistic", objective="iwae", network="conv")
    check(different, gray, monkeypatch)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ROWS)
def test_half_precision_learns_what_float32_learns_whatever_the_parts(name, gray, monkeypatch):
    check(ROWS[name], gray, monkeypatch)
