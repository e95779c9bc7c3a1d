"""What users hand to codes of every kind by mistake: each gives an error or a diagnosis, and leaves the codes whole."""

import keras
import numpy as np
import pytest

import keras_vae as kv
from keras_vae import evaluation, likelihoods, networks, objectives, posteriors, priors

GRID = (1, 2)
# Of 64 codes each; Residual of a kind that learns its codes, Grouped of one whose codes stand still.
TABLE = {"latent_dim": 4, "grid": GRID, "num_codes": 64}
KINDS = {
    "averages": lambda: posteriors.VectorQuantized(**TABLE),
    "gradient": lambda: posteriors.VectorQuantized(**TABLE, learned_by="gradient", start="kmeans"),
    "cosine": lambda: posteriors.VectorQuantized(**TABLE, cosine=True, through="rotation"),
    "levels": lambda: posteriors.FiniteScalar([8, 8], GRID),
    "signs": lambda: posteriors.LookupFree(6, GRID),
    "residual": lambda: posteriors.Residual(posteriors.VectorQuantized(**TABLE), 2, dropout=0.5),
    "grouped_signs": lambda: posteriors.Grouped(posteriors.LookupFree(6, GRID), 2),
}
X = (np.random.default_rng(0).random((20, 4, 4, 1)) > np.linspace(0.1, 0.9, 4)[:, None]).astype("float32")


def codes_of(posterior):
    """All that is kept of the codes and of what the features go through, but not the projection."""
    return [
        np.array(weight)
        for weight in posterior.weights
        if not any(weight is own for own in posterior.projection.weights)
    ]


def is_finite(vae):
    return all(np.isfinite(np.asarray(weight)).all() for weight in vae.weights)


@pytest.mark.slow(every=True)
@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_an_error_or_a_diagnosis_and_the_codes_stay_whole(kind):
    keras.utils.set_random_seed(0)
    posterior = KINDS[kind]()
    vae = kv.VAE(
        kv.Encoder(networks.mlp([8]), posterior),
        kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((4, 4, 1))),
        priors.UniformCodes.of(posterior),
        objectives.CommittedELBO(),
        seed=0,
    )
    vae.compile(keras.optimizers.Adam(3e-3))
    vae.fit(X, batch_size=20, epochs=2, verbose=0)

    # Codes that are none, and grids that are others.
    shape = posterior.indices_shape
    for wrong, message in (
        (np.full((3, *shape), posterior.num_codes), "Indices of 64 codes are 0 to 63"),
        (np.full((3, *shape), -1), "Indices of 64 codes are 0 to 63"),
        (np.zeros((3, 2, 1, *shape[2:]), int), r"Indices must be \[\.\.\., 1, 2"),
        (np.zeros((3, 3, *shape[2:]), int), r"Indices must be \[\.\.\., 1, 2"),
        (np.zeros((3, *shape)), "Indices are whole numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            posterior.lookup(wrong)
    with pytest.raises(ValueError, match="cannot be compared"):
        kv.VAE(vae.encoder, vae.decoder, priors.UniformCodes(posterior.latent_dim, (2, 1), 64))

    # NaN in x: nothing moves, bit for bit, however it comes in.
    gaps, before = X.copy(), codes_of(posterior)
    gaps[3, 1] = np.nan
    for call in (lambda: vae.fit(gaps, batch_size=20, verbose=0), lambda: vae.train_on_batch(gaps)):
        try:
            call()
        except ValueError as error:
            assert "NaN" in str(error)
        for a, b in zip(before, codes_of(posterior), strict=True):
            np.testing.assert_array_equal(a, b)
    assert is_finite(vae)

    # Forty places, and a codebook of 64.
    finding = next(f for f in evaluation.diagnose(vae, X) if f.name == "codebook_larger_than_data")
    assert "64 codes" in finding.message and "40 places" in finding.message and "Fewer codes" in finding.remedy
    logs = vae.evaluate(X, batch_size=20, return_dict=True, verbose=0)
    assert 0 < logs["usage"] <= 40 / 64

    # One example, and images that are all alike.
    vae.fit(X[:1], batch_size=1, epochs=2, verbose=0)
    assert is_finite(vae) and all(np.isfinite(f.value) for f in evaluation.diagnose(vae, X[:1]))
    alike = np.repeat(X[:1], 20, axis=0)
    vae.fit(alike, batch_size=20, epochs=5, verbose=0)
    found = evaluation.diagnose(vae, alike)
    assert is_finite(vae) and found and all(np.isfinite(f.value) and f.message for f in found)
    assert "all alike" in " ".join(f"{f.message} {f.remedy}" for f in found), [f.name for f in found]
    assert np.isfinite(vae.sample(3, seed=0)).all()
