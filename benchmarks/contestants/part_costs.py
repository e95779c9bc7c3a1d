"""Training step of each part beside the plain VAE: part_costs.py TURNS. JSON: kind -> part -> ratios and ms."""

import json
import statistics
import sys

import child
import numpy as np
import steps

import keras_vae as kv
from keras_vae import flows, likelihoods, networks, posteriors, priors

SHAPE, LATENT_DIM, UNITS, BATCH_SIZE, TURN = (28, 28, 1), 32, (256, 256), 128, 0.25

POSTERIORS = {
    "MultivariateNormalDiag": lambda: posteriors.MultivariateNormalDiag(LATENT_DIM),
    "MultivariateNormalLowRank, rank 4": lambda: posteriors.MultivariateNormalLowRank(LATENT_DIM, rank=4),
    "MultivariateNormalTriL": lambda: posteriors.MultivariateNormalTriL(LATENT_DIM),
    "MultivariateNormalEigen": lambda: posteriors.MultivariateNormalEigen(LATENT_DIM),
    "Kumaraswamy": lambda: posteriors.Kumaraswamy(LATENT_DIM),
    "Flow, iaf, 2 layers": lambda: flows.Flow(posteriors.MultivariateNormalDiag(LATENT_DIM), kind="iaf"),
    "Flow, coupling, 2 layers": lambda: flows.Flow(posteriors.MultivariateNormalDiag(LATENT_DIM), kind="coupling"),
}
PRIORS = {
    "StandardNormal": lambda: priors.StandardNormal(LATENT_DIM),
    "NormalMixture, 10 components": lambda: priors.NormalMixture(LATENT_DIM, num_components=10),
    "VampPrior, 100 pseudo-inputs": lambda: priors.VampPrior(LATENT_DIM, num_pseudo_inputs=100),
    "VampPrior, 500 pseudo-inputs": lambda: priors.VampPrior(LATENT_DIM, num_pseudo_inputs=500),
    "RealNVP, 8 layers": lambda: priors.RealNVP(LATENT_DIM),
}
LIKELIHOODS = {
    "Bernoulli": lambda: likelihoods.Bernoulli(SHAPE),
    "ContinuousBernoulli": lambda: likelihoods.ContinuousBernoulli(SHAPE),
    "Normal, learned scale": lambda: likelihoods.Normal(SHAPE),
    "Normal, per pixel": lambda: likelihoods.Normal(SHAPE, scale="per_pixel"),
    "DiscretizedLogistic, 256 levels": lambda: likelihoods.DiscretizedLogistic(SHAPE),
    "DiscretizedLogisticMixture, 5 components": lambda: likelihoods.DiscretizedLogisticMixture(SHAPE),
    "Categorical, 16 levels": lambda: likelihoods.Categorical(SHAPE, levels=16),
    "Categorical, 256 levels": lambda: likelihoods.Categorical(SHAPE, levels=256),
    "Binomial, 16 levels": lambda: likelihoods.Binomial(SHAPE, total_count=15),
}


def model(posterior=None, prior=None, likelihood=None) -> kv.VAE:
    """A VAE with these parts instead of the plain ones."""
    posterior = (posterior or POSTERIORS["MultivariateNormalDiag"])()
    if isinstance(posterior, posteriors.Kumaraswamy):
        prior = lambda: priors.Uniform(LATENT_DIM)  # noqa: E731
    return kv.VAE(
        kv.Encoder(networks.mlp(UNITS), posterior),
        kv.Decoder(networks.mlp(UNITS[::-1]), (likelihood or LIKELIHOODS["Bernoulli"])()),
        (prior or PRIORS["StandardNormal"])(),
    )


def data(likelihood) -> np.ndarray:
    """A batch in the support of the likelihood."""
    x = child.images(BATCH_SIZE)
    if likelihood.levels is None or likelihood.levels > 2:
        top = (likelihood.levels or 256) - 1
        x = (np.random.default_rng(0).integers(0, top + 1, x.shape) / top).astype("float32")
    return x


def main(turns: int) -> None:
    """Time every part beside the plain VAE, in turns."""
    plain = model()
    baseline = steps.compiled(plain, data(plain.decoder.likelihood))
    calls = steps.calls_for(baseline, TURN)
    found = {}
    for kind, parts in {"posterior": POSTERIORS, "prior": PRIORS, "likelihood": LIKELIHOODS}.items():
        found[kind] = {}
        for name, part in parts.items():
            vae = model(**{kind: part})
            run = steps.compiled(vae, data(vae.decoder.likelihood))
            own = steps.calls_for(run, TURN)
            pairs = [(steps.seconds(run, own), steps.seconds(baseline, calls)) for _ in range(turns)]
            ms = 1e3 * statistics.median(seconds for seconds, _ in pairs)
            found[kind][name] = {"ratios": [a / b for a, b in pairs], "ms": ms, "weights": vae.count_params()}
            print(kind, name, file=sys.stderr, flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
