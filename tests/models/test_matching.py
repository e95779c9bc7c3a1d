"""Which posteriors go with which priors: where KL(q || p) is infinite, or does not exist, a model is refused."""

import itertools

import numpy as np
import parts
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import flows, objectives, pictures, posteriors, priors
from keras_vae.evaluation import CodeDensity


def make(posterior, prior, objective=None):
    condition = prior.condition
    encoder = parts.encoder("mlp", [8], posterior)
    decoder = parts.decoder("mlp", [8], parts.LIKELIHOODS["normal"](), condition)
    return kv.VAE(encoder, decoder, prior, objective, seed=1)


BLOCKS = {
    "box": (lambda: posteriors.Kumaraswamy(2, -1.0, 0.2), lambda: priors.Uniform(2, -1.0, 0.2)),
    "wide_box": (lambda: posteriors.Kumaraswamy(2, -1.0, 0.5), lambda: priors.Uniform(2, -1.0, 0.5)),
    "line": (lambda: posteriors.MultivariateNormalDiag(2), lambda: priors.StandardNormal(2)),
    "one_hot": (lambda: posteriors.RelaxedOneHot(2), lambda: priors.UniformOneHot(2)),
}
# Whether the first is inside the second.
INSIDE = {("box", "box"), ("box", "wide_box"), ("box", "line"), ("wide_box", "wide_box"), ("wide_box", "line")}
INSIDE |= {("line", "line"), ("one_hot", "one_hot")}


def joint(kind, side, blocks):
    """Two blocks side by side, or three, of which the last two are a joint block themselves."""
    made = [BLOCKS[block][side]() for block in blocks]
    return kind(made[0], made[1] if len(made) == 2 else kind(*made[1:]))


def is_accepted(posterior, prior):
    try:
        make(posterior, prior)
    except ValueError as error:
        assert "infinite" in str(error) or "cannot be compared" in str(error)
        return False
    return True


def test_supports_are_compared_block_by_block():
    for q, p in itertools.product(itertools.product(BLOCKS, repeat=2), repeat=2):
        found = is_accepted(joint(posteriors.JointPosterior, 0, q), joint(priors.JointPrior, 1, p))
        assert found == all(pair in INSIDE for pair in zip(q, p, strict=True)), (q, p)


def test_the_block_that_does_not_fit_is_named_however_deep():
    for place in range(3):
        q, p = (["box" if i == place else "one_hot" for i in range(3)] for _ in range(2))
        q[place] = "wide_box"
        with pytest.raises(ValueError, match=rf"\[-1, 0.5\] in block {place + 1} of 3, .* \[-1, 0.2\]"):
            make(joint(posteriors.JointPosterior, 0, q), joint(priors.JointPrior, 1, p))


def test_a_block_without_a_density_needs_an_objective_without_a_prior():
    for q in ((0, 1), (1, 0)):
        both = [posteriors.Deterministic(2), posteriors.RelaxedOneHot(2)]
        its = [priors.StandardNormal(2), priors.UniformOneHot(2)]
        posterior = posteriors.JointPosterior(*(both[i] for i in q))
        prior = priors.JointPrior(*(its[i] for i in q))
        for objective in (None, objectives.ImportanceWeighted(2), objectives.MMD()):
            with pytest.raises(ValueError, match="has no density"):
                make(posterior, prior, objective)
        make(posterior, prior, objectives.Reconstruction())


def test_a_flow_is_of_real_numbers_only():
    for base in (
        posteriors.JointPosterior(posteriors.MultivariateNormalDiag(2), posteriors.RelaxedOneHot(2)),
        posteriors.JointPosterior(posteriors.MultivariateNormalDiag(2), posteriors.Deterministic(2)),
    ):
        with pytest.raises(ValueError, match="A flow needs a base"):
            flows.Flow(base)


@pytest.mark.parametrize("prior", parts.PRIORS)
def test_draws_of_every_posterior_that_is_accepted_have_a_finite_density_under_the_prior(prior):
    x = parts.data(parts.LIKELIHOODS["normal"](), 8)
    accepted = 0
    for posterior in parts.POSTERIORS:
        made = parts.PRIORS[prior]()
        condition = None if made.condition is None else parts.given(made.condition, 8)
        try:
            vae = make(parts.POSTERIORS[posterior](), made)
            terms = vae.infer(x, 50, seed=0, condition=condition)
        except ValueError:
            continue
        accepted += 1
        for group in terms.groups:
            assert np.all(np.isfinite(group.log_p)) and np.all(np.isfinite(group.kl)), posterior
        # Exact draws of a relaxed posterior in training lie in the simplex.
        relaxed = vae.infer(x, 2, seed=0, condition=condition, training=True)
        assert np.all(np.isfinite(relaxed.kl)), posterior
        given = None if condition is None else tf.constant(condition)
        p = vae.prior.distribution(encoder=vae.encoder, condition=given)
        low, high = vae.prior.bounds
        drawn = np.asarray(p.sample(() if p.batch_shape.rank else 100, seed=[0, 1]))
        assert low.shape == high.shape == (parts.L,) and np.all(drawn >= low) and np.all(drawn <= high)
    assert accepted


def test_bounds_are_those_of_each_block(tmp_path):
    vae = make(
        posteriors.JointPosterior(posteriors.Kumaraswamy(2, -1.0, 0.2), posteriors.MultivariateNormalDiag(1)),
        priors.JointPrior(priors.Uniform(2, -1.0, 0.2), priors.StandardNormal(1)),
    )
    low, high = vae.prior.bounds
    np.testing.assert_array_equal(low, np.float32([-1.0, -1.0, -np.inf]))
    np.testing.assert_array_equal(high, np.float32([0.2, 0.2, np.inf]))
    x = parts.data(vae.decoder.likelihood)
    density = CodeDensity(vae, x, 2)
    density.mixture.covariances_ *= 1e5
    z = density.sample(500)
    assert z[:, :2].max() <= np.float32(0.2) and z[:, 2].max() > 0.2
    pictures.traversals(vae, x, path=tmp_path / "traversals.png")
