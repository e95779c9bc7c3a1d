"""Models that are broken on purpose, and one that is not."""

import json

import keras
import numpy as np
import pytest

import keras_vae as kv
from keras_vae import evaluation, likelihoods, networks, objectives, posteriors, priors
from keras_vae.evaluation.statistics import latent_statistics


def make(shape=(8, 8, 1), likelihood=None, latent_dim=4, objective=None, prior=None) -> kv.VAE:
    vae = kv.VAE(
        kv.Encoder(networks.mlp([64]), posteriors.MultivariateNormalDiag(latent_dim)),
        kv.Decoder(networks.mlp([128, 128]), likelihood or likelihoods.Bernoulli(shape)),
        prior or priors.StandardNormal(latent_dim),
        objective,
        seed=0,
    )
    vae.compile(optimizer=keras.optimizers.Adam(2e-3))
    return vae


def names(findings) -> list[str]:
    return [finding.name for finding in findings]


def test_collapse_is_found_and_health_is_not(digits):
    train, test = digits[:1200], digits[1200:]
    healthy = make()
    history = healthy.fit(train, validation_data=test, epochs=6, verbose=0)
    assert evaluation.diagnose(healthy, test, history.history) == []
    collapsed = make(objective=objectives.ELBO(kl_weight=50.0))
    collapsed.fit(train, epochs=6, verbose=0)
    (finding,) = evaluation.diagnose(collapsed, test)
    assert finding.name == "posterior_collapse"
    assert finding.value < 0.1
    assert "nats" in finding.message
    assert "kl_weight" in finding.remedy
    assert str(finding).startswith("posterior collapse: ")
    json.dumps(finding.as_dict(), allow_nan=False)


def test_unused_dimensions_are_named():
    vae = make((6,), likelihoods.Normal((6,), scale=0.5))
    vae.build()
    projection = vae.encoder.posterior.projection
    kernel = keras.ops.convert_to_numpy(projection.kernel).copy()
    kernel[:, [1, 5]] = 0.0  # location and scale of dimension 1
    kernel[:, :4] *= 3.0
    projection.kernel.assign(kernel)
    (finding,) = evaluation.diagnose(vae, np.random.default_rng(0).normal(size=(200, 6)).astype("float32"))
    assert finding.name == "unused_dimensions"
    assert finding.value == 1
    assert "(1;" in finding.message
    assert not finding.is_harmful


@pytest.mark.parametrize(("log_scale", "bound"), [(-9.0, "lower bound of 0.001"), (9.0, "upper bound of 1000")])
@pytest.mark.parametrize("scale", ["learned", "per_pixel"])
def test_a_scale_at_its_bound(scale, log_scale, bound):
    vae = make((6,), likelihoods.Normal((6,), scale=scale))
    vae.build()
    if scale == "learned":
        (weight,) = vae.decoder.likelihood.weights
        weight.assign(log_scale)
    else:
        bias = keras.ops.convert_to_numpy(vae.decoder.output_layer.bias).copy()
        bias[6:] = log_scale
        vae.decoder.output_layer.bias.assign(bias)
    x = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")
    found = [finding for finding in evaluation.diagnose(vae, x) if finding.name == "scale_at_bound"]
    assert len(found) == 1
    assert bound in found[0].message
    assert "100.0% of the values" in found[0].message


def test_a_fixed_scale_is_at_no_bound():
    vae = make((6,), likelihoods.Normal((6,), scale=0.001))
    vae.build()
    assert "scale_at_bound" not in names(evaluation.diagnose(vae, np.zeros((5, 6), "float32")))


@pytest.mark.parametrize(
    ("history", "gap"),
    [
        ({"elbo": [-90.0, -80.0], "val_elbo": [-95.0, -120.0]}, 40.0),
        ({"elbo": [-90.0, -80.0], "val_elbo": [-90.0, -80.1]}, None),
        ({"elbo": -80.0, "val_elbo": -120.0}, 40.0),
        ({"elbo": [-80.0]}, None),
        ({"epoch": ["a"], "elbo": [-80.0], "val_elbo": [-60.0]}, None),
    ],
)
def test_a_gap_between_training_and_validation(history, gap):
    vae = make((6,), likelihoods.Normal((6,), scale=0.5))
    x = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")
    found = [f for f in evaluation.diagnose(vae, x, history) if f.name == "train_validation_gap"]
    assert [finding.value for finding in found] == ([] if gap is None else [gap])


def test_the_gap_is_one_of_what_the_objective_maximises():
    vae = make((6,), likelihoods.Normal((6,), scale=0.5), objective=objectives.ImportanceWeighted(5))
    x = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")
    history = {
        "elbo": [-95.0, -85.0],
        "val_elbo": [-90.0, -90.0],
        "bound": [-90.0, -80.0],
        "val_bound": [-95.0, -120.0],
    }
    (finding,) = [f for f in evaluation.diagnose(vae, x, history) if f.name == "train_validation_gap"]
    assert finding.value == 40.0
    assert "The bound is -80.00" in finding.message and "EarlyStopping('val_bound'" in finding.remedy


def test_a_gap_without_a_fall_is_no_harm_and_one_within_its_error_is_none():
    vae = make((6,), likelihoods.Normal((6,), scale=0.5))
    x = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")
    (finding,) = [
        f
        for f in evaluation.diagnose(vae, x, {"elbo": [-90.0, -40.0], "val_elbo": [-95.0, -80.0]})
        if f.name == "train_validation_gap"
    ]
    assert not finding.is_harmful
    assert "has not fallen" in finding.message
    # Examples that differ by hundreds of nats: their mean is not known to ten.
    noisy = vae.evaluate(100.0 * x, return_dict=True, verbose=0)["elbo"]
    history = {"elbo": [noisy + 10.0], "val_elbo": [noisy]}
    assert "train_validation_gap" not in names(evaluation.diagnose(vae, 100.0 * x, history))


def test_dimensions_are_used_on_whatever_scale():
    """A prior on [0, 0.1]: the variance of every mean is far below 0.01, and q(z|x) is narrow."""
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posteriors.Kumaraswamy(2, 0.0, 0.1)),
        kv.Decoder(networks.mlp([16]), likelihoods.Normal((6,), scale=0.5)),
        priors.Uniform(2, 0.0, 0.1),
        seed=0,
    )
    vae.build()
    projection = vae.encoder.posterior.projection
    kernel, bias = np.zeros(projection.kernel.shape), np.zeros(projection.bias.shape)
    x = np.random.default_rng(0).normal(size=(200, 6)).astype("float32")
    projection.kernel.assign(kernel)
    assert names(evaluation.diagnose(vae, x)) == ["posterior_collapse"]
    kernel[:2], bias[:] = 3.0 * np.random.default_rng(1).normal(size=(2, kernel.shape[1])), 2.0
    projection.kernel.assign(kernel)
    projection.bias.assign(bias)
    assert names(evaluation.diagnose(vae, x)) == []


def test_values_that_are_not_finite_are_the_only_finding():
    vae = make((6,), likelihoods.Normal((6,), scale=0.5))
    x = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")
    (finding,) = evaluation.diagnose(vae, x, {"loss": [1.0, float("nan")]})
    assert finding.name == "nonfinite"
    assert "loss" in finding.message
    assert finding.as_dict()["value"] is None
    bias = vae.decoder.output_layer.bias
    bias.assign(np.full(bias.shape, np.nan))
    (finding,) = evaluation.diagnose(vae, x)
    assert "1 weights hold NaN" in finding.message
    assert "learning rate" in finding.remedy


def test_a_range_without_limits_is_no_finding():
    vae = make((6,), likelihoods.Normal((6,), scale=0.5), prior=priors.VampPrior(4, 3))
    x = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")
    assert "nonfinite" not in names(evaluation.diagnose(vae, x))


def test_autoencoders_do_not_collapse():
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posteriors.Deterministic(2)),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((6,), scale=1.0)),
        priors.StandardNormal(2),
        objectives.Reconstruction(),
    )
    x = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")
    assert evaluation.diagnose(vae, x, {"elbo": [-5.0, -3.0], "val_elbo": [-9.0, -8.0]}) == []


PATTERNS = np.repeat(np.eye(3, dtype="float32"), 2, axis=1)


def with_code(logits, shown=8.0, moved=2.0) -> kv.VAE:
    """Three patterns of six pixels, whose class the code has by logits [3 patterns, 3 classes], made by hand."""
    vae = kv.VAE(
        kv.Encoder(
            networks.mlp([]),
            posteriors.JointPosterior(posteriors.MultivariateNormalDiag(2), posteriors.RelaxedOneHot(3)),
        ),
        kv.Decoder(networks.mlp([]), likelihoods.Bernoulli((6,))),
        priors.JointPrior(priors.StandardNormal(2), priors.UniformOneHot(3)),
        objectives.JointCapacity(1.0, 1.0),
        seed=0,
    )
    vae.build()
    posterior, (kernel, bias) = vae.encoder.posterior, vae.decoder.trainable_variables
    # A pattern has two pixels.
    posterior.discrete.projection.kernel.assign(np.repeat(np.asarray(logits, "float32"), 2, axis=0) / 2)
    posterior.continuous.projection.kernel.assign(np.repeat(moved * np.eye(3, 4, dtype="float32"), 2, axis=0) / 2)
    kernel.assign(np.concatenate([0.1 * np.ones((2, 6)), shown * PATTERNS]))
    bias.assign(np.full(6, -shown / 2))
    return vae


@pytest.mark.parametrize(
    ("logits", "shown", "expected", "harmful"),
    [
        (20 * np.eye(3), 8.0, None, False),
        ([[20, 0, 0]] * 3, 8.0, "constant_code", True),
        (np.zeros((3, 3)), 8.0, "ignored_code", True),
        (20 * np.eye(3), 0.0, "ignored_code", True),
        ([[20, 0, 0], [0, 20, 0], [0, 20, 0]], 8.0, "unused_classes", False),
    ],
    ids=["healthy", "constant", "same for all", "decoder does not look", "a class too many"],
)
def test_a_code_that_says_nothing_is_found(logits, shown, expected, harmful):
    # Sorted by class, as files often are.
    x = np.repeat(PATTERNS, 100, axis=0)
    vae = with_code(logits, shown)
    findings = evaluation.diagnose(vae, x)
    assert names(findings) == ([] if expected is None else [expected])
    for finding in findings:
        assert finding.is_harmful is harmful
        assert "of the 3" in finding.message or "of 3 classes" in finding.message
        json.dumps(finding.as_dict(), allow_nan=False)


def test_a_code_that_is_alone_and_constant_is_not_called_collapsed():
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posteriors.RelaxedOneHot(3)),
        kv.Decoder(networks.mlp([]), likelihoods.Bernoulli((6,))),
        priors.UniformOneHot(3),
        seed=0,
    )
    vae.build()
    projection = vae.encoder.posterior.projection
    projection.kernel.assign(np.zeros((6, 3)))
    projection.bias.assign([0.0, 20.0, 0.0])
    (finding,) = evaluation.diagnose(vae, np.repeat(PATTERNS, 50, axis=0))
    assert finding.name == "constant_code" and finding.value == pytest.approx(1.0)
    # Its KL is all of log 3: it would not stand out.
    assert evaluation.evaluate(vae, PATTERNS, num_samples=2, verbose=False)["test"]["rate"] == pytest.approx(
        np.log(3), rel=1e-3
    )


def test_a_codebook_of_which_little_is_used_is_found():
    posterior = posteriors.VectorQuantized(8, grid=(2, 2), num_codes=16)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posterior),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((8,), scale=0.5)),
        priors.AutoregressiveCodes(8, grid=(2, 2), num_codes=16),
        objectives.CommittedELBO(),
        seed=0,
    )
    vae.build()
    # Two numbers at each of four places, and an encoder that hands them on.
    posterior.projection.kernel.assign(posterior.slowness * np.eye(8))
    x = np.random.default_rng(0).normal(size=(300, 8)).astype("float32")
    codes = x.reshape(-1, 2)[:16]
    posterior.counts.assign(np.ones(16))
    posterior.sums.assign(codes)
    assert "unused_classes" not in names(evaluation.diagnose(vae, x))
    posterior.sums.assign(np.concatenate([codes[:4], np.full((12, 2), 50.0)]))
    (finding,) = [found for found in evaluation.diagnose(vae, x) if found.name == "unused_classes"]
    assert finding.value == 12 and finding.is_harmful and "revive_below" in finding.remedy
    posterior.sums.assign(np.full((16, 2), 50.0) * np.arange(1, 17)[:, None])
    (finding,) = [found for found in evaluation.diagnose(vae, x) if found.name == "constant_code"]
    assert finding.value == pytest.approx(1.0)
    posterior.sums.assign(codes)
    (finding,) = [found for found in evaluation.diagnose(vae, x[:3]) if found.name == "codebook_larger_than_data"]
    assert finding.value == 16 and "12 places" in finding.message and not finding.is_harmful


def test_of_several_codebooks_the_one_that_is_not_used_is_named():
    posterior = posteriors.Residual(posteriors.VectorQuantized(8, grid=(2, 2), num_codes=4), 2)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posterior),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((8,), scale=0.5)),
        priors.UniformCodes.of(posterior),
        seed=0,
    )
    vae.build()
    posterior.projection.kernel.assign(posterior.slowness * np.eye(8))
    corners = np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    for part, codes in zip(posterior.parts(), (corners, 50 * np.arange(1, 5)[:, None] + corners), strict=True):
        part.counts.assign(np.ones(4))
        part.sums.assign(codes)
    x = np.random.default_rng(0).normal(size=(100, 8)).astype("float32")
    (finding,) = [found for found in evaluation.diagnose(vae, x) if "code" in found.name]
    assert finding.name == "constant_code" and "of stage or group 2" in finding.message
    assert len(latent_statistics(vae, x).codes) == 2
