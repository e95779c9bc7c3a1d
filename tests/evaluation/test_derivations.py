"""Every number of docs/derivations.md, computed anew from the package's parts."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from small_models import raw_scale
from tensorflow_probability import distributions as tfd

import keras_vae as kv
from keras_vae import likelihoods, networks, posteriors, priors

PAGE = (Path(__file__).parents[2] / "docs" / "derivations.md").read_text("utf-8")
W, B, S, X = np.array([1.2, -0.8]), np.array([0.1, 0.2]), 0.6, np.array([1.0, 0.5])
MU, SIGMA = 0.1, 0.9
COPIES = (1, 10, 100)
MINUS = "\N{MINUS SIGN}"


def cells(heading):
    """The last cells of the table rows under a heading, and whole rows."""
    section = PAGE.split(f"## {heading}")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| line")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def numbers(text):
    return [
        float(number.replace(MINUS, "-").replace(",", "")) for number in re.findall(rf"[-{MINUS}]?\d[\d,]*\.\d+", text)
    ]


@pytest.fixture(scope="module")
def vae():
    made = kv.VAE(
        kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(1)),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((2,), scale=S)),
        priors.StandardNormal(1),
        seed=0,
    )
    made.build()
    made.decoder.output_layer.kernel.assign(W[None])
    made.decoder.output_layer.bias.assign(B)
    made.encoder.posterior.projection.kernel.assign(np.zeros((2, 2)))
    made.encoder.posterior.projection.bias.assign([MU, float(raw_scale(np.float32(SIGMA)))])
    return made


class Lines:
    """The terms of the page: densities of the package at the nodes of a Gauss-Hermite rule."""

    def __init__(self, vae):
        x = tf.constant(X[None], tf.float32)
        eps, weights = np.polynomial.hermite_e.hermegauss(40)
        self.weights = weights / weights.sum()
        q, p = vae.encode(x), vae.prior.distribution()
        z = (MU + SIGMA * eps).astype("float32")[:, None, None]
        self.q, self.p, self.likelihood = (
            np.asarray(v, "float64")[:, 0] for v in (q.log_prob(z), p.log_prob(z), vae.decode(z).log_prob(x))
        )
        variance = 1 / (1 + W @ W / S**2)
        self.mean, self.deviation = variance * W @ (X - B) / S**2, np.sqrt(variance)
        exact = tfd.MultivariateNormalDiag([np.float32(self.mean)], [np.float32(self.deviation)])
        self.posterior = np.asarray(exact.log_prob(z), "float64")[:, 0]
        self.kl_to_posterior = float(tfd.kl_divergence(q, exact)[0])
        covariance = np.outer(W, W) + S**2 * np.eye(2)
        self.evidence = float(tfd.MultivariateNormalFullCovariance(B, covariance).log_prob(X))
        terms = vae.infer(x, seed=0)
        assert terms.groups[0].kl_is_exact
        self.kl = float(terms.kl[0])

    def mean_of(self, values):
        return float(self.weights @ values)


@pytest.fixture(scope="module")
def lines(vae):
    return Lines(vae)


def close(found, expected, digits=4):
    assert found == pytest.approx(expected, abs=2.0 * 10.0**-digits)


def test_the_model_is_that_of_the_page(lines):
    close(lines.mean, float(re.search(r"m = ([\d.]+), √v", PAGE)[1]))
    close(lines.deviation, float(re.search(r"√v = ([\d.]+)\.", PAGE)[1]))


def test_derivation_from_the_divergence_to_the_posterior(lines):
    e, q, joint = lines.mean_of, lines.q, lines.likelihood + lines.p
    elbo = e(lines.likelihood) - lines.kl
    rows = cells("I. ")
    expected = [
        lines.kl_to_posterior,
        e(q) - e(lines.posterior),
        e(q) - e(joint) + lines.evidence,
        lines.evidence - elbo,
        lines.evidence - lines.kl_to_posterior,
    ]
    assert len(rows) == len(expected)
    for row, value in zip(rows, expected, strict=True):
        close(float(row[-1]), value)
    close(numbers(rows[1][1]), np.array([e(q), -e(lines.posterior)]))
    close(numbers(rows[2][1]), np.array([e(q), -e(joint), lines.evidence]))
    close(numbers(rows[3][1]), np.array([lines.evidence, e(lines.likelihood), lines.kl]))


def test_derivation_from_the_evidence(lines):
    e, joint = lines.mean_of, lines.likelihood + lines.p
    elbo, kl = e(joint - lines.q), e(lines.q - lines.posterior)
    expected = [
        lines.evidence,
        e(np.full_like(joint, lines.evidence)),
        e(joint - lines.posterior),
        e((joint - lines.q) + (lines.q - lines.posterior)),
        elbo + kl,
        e(lines.likelihood) - lines.kl,
    ]
    rows = cells("II. ")
    assert len(rows) == len(expected)
    for row, value in zip(rows, expected, strict=True):
        close(float(row[-1]), value)
    close(numbers(rows[4][1]), np.array([elbo, kl]))


def test_derivation_by_jensen(vae, lines):
    z = np.linspace(-8.0, 8.0, 4001, dtype="float32")[:, None, None]
    joint = np.asarray(vae.decode(z).log_prob(X[None].astype("float32")) + vae.prior.distribution().log_prob(z))[:, 0]
    q = np.asarray(vae.encode(X[None].astype("float32")).log_prob(z))[:, 0]
    weights = np.exp(joint - q)
    step = float(z[1, 0, 0] - z[0, 0, 0])
    elbo = lines.mean_of(lines.likelihood + lines.p - lines.q)
    expected = [np.log(np.exp(joint).sum() * step), np.log((np.exp(q) * weights).sum() * step), elbo]
    *rows, one, ten, hundred = [row for row in cells("III. ") if row[0] != "K"]
    for row, value in zip(rows, [*expected, lines.kl_to_posterior], strict=True):
        close(float(row[-1]), value)
    for row, samples in ((one, 1), (ten, 10), (hundred, 100)):
        assert int(row[0]) == samples
        x = np.tile(X.astype("float32"), (200_000 // samples, 1))
        bound = np.asarray(tf.reduce_logsumexp(vae.infer(x, samples, seed=1).log_weights, axis=0)) - np.log(samples)
        assert abs(bound.mean() - float(row[-1])) < 5 * bound.std() / np.sqrt(len(bound)) + 1e-3


def test_the_gradient_with_and_without_the_trick(vae):
    """Of single draws, in mu and sigma: the same mean, other variances, those of the page."""
    n, x = 200_000, tf.constant(X[None], tf.float32)
    mu, sigma = tf.fill([n, 1], MU), tf.fill([n, 1], SIGMA)
    prior = vae.prior.distribution()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([mu, sigma])
        q = tfd.MultivariateNormalDiag(mu, sigma)
        z = q.sample(seed=[0, 7])

        def log_weight(z):
            return vae.decode(z).log_prob(tf.tile(x, [n, 1])) + prior.log_prob(z) - q.log_prob(z)

        path, fixed = log_weight(z), tf.stop_gradient(z)
        log_q = q.log_prob(fixed)
    value = np.asarray(path, "float64")[:, None]
    through = [np.asarray(g, "float64") for g in tape.gradient(path, [mu, sigma])]
    score = [np.asarray(g, "float64") for g in tape.gradient(log_q, [mu, sigma])]
    elbo = value.mean()
    found = [
        through,
        [value * s for s in score],
        [(value - elbo) * s for s in score],
    ]
    rows = [row for row in cells("Without") if row[0] not in ("estimator", "d")]
    by_name, by_copies = rows[:3], rows[3:]
    for row, gradients in zip(by_name, found, strict=True):
        for name, (mean, variance), gradient in zip("ms", (row[1:3], row[3:5]), gradients, strict=True):
            assert abs(gradient.mean() - float(mean)) < 5 * gradient.std() / np.sqrt(n) + 1e-3, (row, name)
            assert gradient.var() == pytest.approx(float(variance), rel=0.05), (row, name)
    # All three have the exact mean: that of Gauss-Hermite over the path, which is a polynomial.
    assert float(by_name[0][1]) == float(by_name[1][1]) == float(by_name[2][1])
    for row, copies in zip(by_copies, COPIES, strict=True):
        assert int(row[0]) == copies
        others = (copies - 1) * value.var()
        whole = value + (copies - 1) * elbo
        variances = [through[0].var(), (whole * score[0]).var(), ((value - elbo) * score[0]).var()]
        variances[1] += others * (score[0] ** 2).mean()
        variances[2] += others * (score[0] ** 2).mean()
        for cell, variance in zip(row[1:], variances, strict=True):
            assert float(cell.replace(",", "")) == pytest.approx(variance, rel=0.05)
