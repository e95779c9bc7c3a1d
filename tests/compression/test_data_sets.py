"""Files of data sets: as large as the ELBO says, decoded bit for bit, and refused where they cannot be."""

import math
import subprocess
import sys

import numpy as np
import parts
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import keras_vae as kv
from keras_vae import compression, conditions, likelihoods, networks, objectives, posteriors, priors
from keras_vae.compression import container
from keras_vae.compression.codec import batches

CODED = ("bernoulli", *parts.GRAY)


def cases(names, *slow):
    """Some of them with the slow tests."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in names]


def lively(vae, spread=0.5, seed=0):
    """The model with random weights, of which x tells z something."""
    vae.build()
    rng = np.random.default_rng(seed)
    for part in (vae.encoder, vae.decoder, vae.prior):
        for weight in part.trainable_weights:
            fan_in = weight.shape[0] if len(weight.shape) else 1
            weight.assign(rng.normal(size=weight.shape) * spread / math.sqrt(max(1, fan_in / 4)))
    return vae


def model(likelihood=None, prior=None, posterior=None, spread=0.5, **options):
    dim = (posterior or prior).latent_dim if (posterior or prior) else parts.L
    return lively(
        kv.VAE(
            kv.Encoder(networks.mlp([8]), posterior or posteriors.MultivariateNormalDiag(dim)),
            kv.Decoder(networks.mlp([8]), likelihood or likelihoods.Bernoulli(parts.SHAPE)),
            prior or priors.StandardNormal(dim),
            seed=0,
            **options,
        ),
        spread,
    )


def ladder(likelihood="bernoulli", **options):
    return lively(
        kv.VAE(
            kv.LadderEncoder(networks.mlp([8, 8]), posteriors.MultivariateNormalDiag(2)),
            kv.LadderDecoder(networks.mlp([8, 8, 8]), parts.LIKELIHOODS[likelihood](), [3, 2], **options),
            priors.StandardNormal(2),
        ),
        spread=0.3,
    )


def drawn(vae, n, **options):
    return vae.sample(n, seed=1, noise=True, **options)


def bits(compressed):
    """Of the code of the examples, without those that it begins with."""
    return 8 * compressed.sizes["examples"] - compressed.initial_bits


def elbo_bits(vae, x, c=None):
    """Minus the ELBO of all, in bits, by many draws."""
    terms = vae.infer(tf.constant(x), 16, seed=3, condition=c)
    return -float(tf.reduce_sum(terms.elbo)) / math.log(2)


def test_the_file_is_as_large_as_the_exact_elbo():
    """Of one latent: the expectation by quadrature, the KL in closed form."""
    n, vae = 3000, model(prior=priors.StandardNormal(1))
    x = drawn(vae, n)
    q = vae.encode(x)
    loc, scale = np.asarray(q.mean())[:, 0], np.asarray(q.stddev())[:, 0]
    points, weights = np.polynomial.hermite_e.hermegauss(40)
    weights /= weights.sum()
    log_likelihood = np.zeros(n)
    for point, weight in zip(points, weights, strict=True):
        z = (loc + scale * point)[:, None].astype("float32")
        log_likelihood += weight * np.asarray(vae.decode(z).log_prob(x))
    kl = 0.5 * (scale**2 + loc**2 - 1.0) - np.log(scale)
    exact = -(log_likelihood - kl).sum() / math.log(2)
    compressed = compression.compress(vae, x)
    assert bits(compressed) == pytest.approx(exact, rel=3e-3)
    assert 8 * len(compressed.content) == pytest.approx(exact, rel=1e-2)
    assert compressed.bits_per_dim == 8 * len(compressed.content) / x.size


@pytest.mark.parametrize("likelihood", cases(CODED, "logistic_mixture", "binomial"))
def test_each_likelihood_of_probabilities_takes_its_elbo_and_comes_back(likelihood):
    vae = model(parts.LIKELIHOODS[likelihood](), spread=0.2)
    x = drawn(vae, 400)
    compressed = compression.compress(vae, x, verify=False)
    assert bits(compressed) == pytest.approx(elbo_bits(vae, x), rel=0.01)
    found = compression.decompress(vae, compressed.content)
    np.testing.assert_array_equal(found.x, x)
    assert found.x.dtype == np.float32 and found.condition is None and found.names is None


PRIORS = {
    "mixture": lambda: priors.NormalMixture(2, 5),
    "mixture of two": lambda: priors.NormalMixture(2, 2),
    "mixture of one": lambda: priors.NormalMixture(2, 1),
    "vamp": lambda: priors.VampPrior(2, 4),
    "flow": lambda: priors.RealNVP(3, num_layers=3, units=(8,)),
    "flow of two": lambda: priors.RealNVP(2, num_layers=4, units=(8,)),
}


@pytest.mark.parametrize(
    "prior",
    [
        "mixture",
        "flow",
        *(pytest.param(name, marks=pytest.mark.slow) for name in (*PRIORS,) if " " in name or name == "vamp"),
    ],
)
def test_each_prior_with_a_code_takes_its_elbo(prior):
    vae = model(prior=PRIORS[prior](), spread=0.2)
    x = drawn(vae, 1000)
    compressed = compression.compress(vae, x, verify=False)
    assert bits(compressed) == pytest.approx(elbo_bits(vae, x), rel=0.01)
    np.testing.assert_array_equal(compression.decompress(vae, compressed.content).x, x)


LADDERS = {
    "plain": {},
    "bidirectional": {"bidirectional": True},
    "part": {"posterior": posteriors.MultivariateNormalDiag(1)},
}


@pytest.mark.parametrize(
    "kind", ["plain", *(pytest.param(k, marks=pytest.mark.slow) for k in ("bidirectional", "part"))]
)
def test_hierarchies_take_their_elbo(kind):
    vae = ladder(**LADDERS[kind])
    assert vae.num_levels == 3
    x = drawn(vae, 600)
    compressed = compression.compress(vae, x, verify=False)
    assert bits(compressed) == pytest.approx(elbo_bits(vae, x), rel=0.01)
    np.testing.assert_array_equal(compression.decompress(vae, compressed.content).x, x)


@pytest.mark.slow
def test_hierarchies_of_maps_do_too():
    vae = lively(
        kv.VAE(
            kv.LadderEncoder(networks.conv([4, 4]), posteriors.MultivariateNormalDiag(2)),
            kv.LadderDecoder(networks.conv([4, 4]), likelihoods.Categorical((8, 8, 1), 4), 1),
            priors.NormalMixture(2, 3),
        ),
        spread=0.15,
    )
    x = drawn(vae, 200)
    assert bits(compression.compress(vae, x)) == pytest.approx(elbo_bits(vae, x), rel=0.02)


def test_the_first_example_begins_with_little_and_the_batches_grow():
    sizes = [some.stop - some.start for some in batches(10_000, 64)]
    assert sizes[:8] == [1] * 8 and max(sizes) == 64 and sum(sizes) == 10_000 and len(sizes) < 200
    vae = model()
    compressed = compression.compress(vae, drawn(vae, 200))
    assert 0 < compressed.initial_bits < 40 * parts.L
    assert list(batches(0, 64)) == []


@pytest.mark.slow
def test_fitted_posteriors_make_the_file_smaller_by_what_their_elbo_says():
    vae = model()
    x = drawn(vae, 300)
    plain = compression.compress(vae, x, verify=False)
    fitted = compression.compress(vae, x, refine_steps=40, verify=False)
    assert plain.refined_elbo is None and fitted.refined_elbo is not None
    assert len(fitted.content) < 0.99 * len(plain.content)
    assert bits(fitted) == pytest.approx(-fitted.refined_elbo * len(x) / math.log(2), rel=0.015)
    np.testing.assert_array_equal(compression.decompress(vae, fitted.content).x, x)
    # No q(z|x) is better than the true posterior.
    assert fitted.refined_elbo < vae.log_prob(x, num_samples=500).mean()


CONDITIONS = {"label": conditions.Label(4), "vector": conditions.Vector(2), "image": conditions.Image((3, 4, 1))}


@pytest.mark.parametrize(
    "kind", ["label", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("vector", "image"))]
)
def test_conditions_are_kept_beside_the_examples(kind):
    condition = CONDITIONS[kind]
    vae = lively(
        kv.VAE(
            kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(2), condition=condition),
            kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli(parts.SHAPE), condition=condition),
            priors.ConditionalNormal(2, condition),
        )
    )
    c = parts.given(condition, 300)
    x = drawn(vae, 300, condition=c)
    compressed = compression.compress(vae, x, c)
    assert bits(compressed) == pytest.approx(elbo_bits(vae, x, c), rel=0.01)
    assert compressed.sizes["conditions"] > 0
    found = compression.decompress(vae, compressed.content)
    np.testing.assert_array_equal(found.x, x)
    np.testing.assert_array_equal(found.condition, c)


def test_names_are_kept_and_one_example_is_enough():
    vae = model()
    x = drawn(vae, 1)
    names = ["a folder/ä b.png"]
    found = compression.decompress(vae, compression.compress(vae, x, names=names).content)
    assert found.names == tuple(names)
    np.testing.assert_array_equal(found.x, x)


SCRIPT = """
import sys, numpy as np, keras_vae as kv
from keras_vae import compression
found = compression.decompress(kv.load(sys.argv[1]), open(sys.argv[2], "rb").read())
np.save(sys.argv[3], found.x)
"""


@pytest.mark.slow
def test_another_process_decodes_it_bit_for_bit(tmp_path):
    vae = model(prior=priors.RealNVP(3, num_layers=2, units=(8,)))
    x = drawn(vae, 150)
    vae.save(tmp_path / "vae.keras")
    (tmp_path / "x.kvae").write_bytes(compression.compress(vae, x, refine_steps=3, verify=False).content)
    command = [sys.executable, "-c", SCRIPT, *(str(tmp_path / name) for name in ("vae.keras", "x.kvae", "x.npy"))]
    subprocess.run(command, check=True, capture_output=True)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), x)


@pytest.fixture(scope="module")
def whole():
    vae = model()
    x = drawn(vae, 60)
    return vae, x, compression.compress(vae, x).content


def test_a_file_that_is_cut_off_or_changed_anywhere_is_refused(whole):
    vae, _, content = whole
    for size in (0, 5, 11, 20, 100, len(content) - 5, len(content) - 1):
        with pytest.raises(compression.Undecodable, match=r"damaged|cut off|no file of keras-vae"):
            compression.decompress(vae, content[:size])
    rng = np.random.default_rng(0)
    for place in [7, 8, 9, 12, *rng.integers(0, len(content), 40)]:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.integers(8)
        with pytest.raises(compression.Undecodable, match=r"damaged|format|no file of keras-vae"):
            compression.decompress(vae, bytes(changed))
    with pytest.raises(compression.Undecodable, match="damaged"):
        compression.decompress(vae, content + b"\0")
    with pytest.raises(compression.Undecodable, match="no file of keras-vae compress"):
        compression.decompress(vae, b"\x89PNG\r\n\x1a\n" + content)


def test_another_model_is_refused_by_its_fingerprint(whole):
    _, _, content = whole
    with pytest.raises(compression.Undecodable, match="made by another model"):
        compression.decompress(lively(model(), seed=1), content)
    with pytest.raises(compression.Undecodable, match="made by another model"):
        compression.decompress(model(likelihoods.Binomial(parts.SHAPE, 3)), content)


def test_a_file_of_another_machine_that_does_not_decode_says_what_is_different(whole, monkeypatch):
    vae, x, content = whole
    there = {**container.machinery(), "processor": "x86_64 Another Kind", "threads": "99"}
    monkeypatch.setattr(container, "machinery", lambda: there)
    made = compression.compress(vae, x, verify=False).content
    monkeypatch.undo()
    # Where the numbers are the same, it decodes.
    np.testing.assert_array_equal(compression.decompress(vae, made).x, x)
    weight = vae.decoder.trainable_weights[0]
    before = weight.numpy()
    fingerprint = container.fingerprint(vae)
    # As another processor may round.
    weight.assign(before * (1 + 1e-4))
    monkeypatch.setattr(container, "fingerprint", lambda vae: fingerprint)
    with pytest.raises(compression.Undecodable, match=r"processor x86_64 Another Kind \(here .*\), threads 99"):
        compression.decompress(vae, made)
    with pytest.raises(compression.Undecodable, match="other numbers than when it was made, though"):
        compression.decompress(vae, content)
    weight.assign(before)


class Dependent(likelihoods.Bernoulli):
    def distribution(self, logits):
        return tfp.distributions.Blockwise([super().distribution(logits)])


REFUSED = {
    "densities": (lambda: model(likelihoods.Normal((2, 2, 1), scale=1.0)), "only probabilities have a code"),
    "continuous": (lambda: model(likelihoods.ContinuousBernoulli(parts.SHAPE)), "ContinuousBernoulli gives densities"),
    "posterior": (lambda: model(posterior=posteriors.MultivariateNormalTriL(3)), "MultivariateNormalTriL has no code"),
    "flow": (lambda: model(posterior=parts.POSTERIORS["iaf"]()), "Flow has no code as a posterior"),
    "levels": (lambda: ladder(posterior=posteriors.MultivariateNormalTriL(1)), "posterior of the levels"),
    "means": (lambda: _of_given_means(), "independent given z"),
    "not independent": (lambda: model(Dependent(parts.SHAPE)), "a tfd.Independent"),
    "targets": (lambda: model(targets=True), "without targets"),
    "missing": (lambda: model(missing=True), "missing=True"),
    "many levels": (lambda: lively(kv.VAE(*_of_many_levels())), "5000 levels"),
}


def _of_given_means():
    gray = conditions.Image((3, 4, 1))
    encoder = kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(2), condition=gray)
    decoder = kv.Decoder(networks.mlp([8]), likelihoods.GivenMeans((3, 4, 3), 16), condition=gray)
    return kv.VAE(encoder, decoder, priors.StandardNormal(2))


def _of_many_levels():
    likelihood = likelihoods.DiscretizedLogistic((2,), 5000)
    decoder = kv.Decoder(networks.mlp([]), likelihood)
    return kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(2)), decoder, priors.StandardNormal(2)


@pytest.mark.parametrize("case", REFUSED)
def test_models_without_a_code_are_refused_by_name(case):
    make, message = REFUSED[case]
    vae = make()
    with pytest.raises(ValueError, match=message):
        compression.compress(vae, np.zeros((2, *vae.decoder.event_shape), "float32"))


def test_a_prior_without_a_code_is_refused_by_name():
    vae = model(prior=priors.Uniform(2), posterior=posteriors.Kumaraswamy(2))
    with pytest.raises(ValueError, match="Kumaraswamy has no code"):
        compression.compress(vae, np.zeros((2, *vae.decoder.event_shape), "float32"))

    class Wide(priors.StandardNormal):
        coded_as = None

    with pytest.raises(ValueError, match="Wide has no code as a prior: StandardNormal, "):
        compression.compress(model(prior=Wide(2)), np.zeros((2, *parts.SHAPE), "float32"))
    cascade = parts.vae(kv.CascadeVAE, "diag", objective=objectives.InformationCascade())
    with pytest.raises(ValueError, match="CascadeVAE has another relation of x and z"):
        compression.compress(cascade, np.zeros((2, *cascade.decoder.event_shape), "float32"))


def test_data_that_cannot_be_are_refused():
    vae = model()
    x = drawn(vae, 4)
    with pytest.raises(ValueError, match="zeros and ones"):
        compression.compress(vae, 0.5 * x)
    with pytest.raises(ValueError, match="no examples"):
        compression.compress(vae, x[:0])
    with pytest.raises(ValueError, match="names are of 3 examples"):
        compression.compress(vae, x, names=["a", "b", "c"])
    with pytest.raises(ValueError, match="refine_steps"):
        compression.compress(vae, x, refine_steps=-1)
    with pytest.raises(ValueError, match="has 3: leave it at 0"):
        compression.compress(ladder(), x, refine_steps=1)


def test_without_the_coder_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-vae\[compress\]'"):
        compression.compress(model(), np.zeros((1, *parts.SHAPE), "float32"))


def test_a_prior_of_ones_own_that_declares_its_code_has_one():
    class Wide(priors.Prior):
        coded_as = "normal"

        def distribution(self, encoder=None, condition=None):
            return priors.StandardNormal(self.latent_dim).distribution()

    vae = lively(model(prior=Wide(2)))
    x = drawn(vae, 50)
    np.testing.assert_array_equal(compression.decompress(vae, compression.compress(vae, x).content).x, x)
    assert tf.executing_eagerly()
