"""Posteriors at equal steps: MNIST, 784-512-256-16 and back, the same data, steps and optimizer for all.

    python benchmarks/posteriors.py
    python benchmarks/posteriors.py --epochs 2 5 20 --seeds 0 --only diag tril

The posteriors take turns within each seed. Beside the ELBO of the test data stands log p(x) of the first 2,000, with
100 importance samples and at the last of the epochs. Differences are from the diagonal posterior of the same seed.
"""

import argparse
import time
from collections.abc import Callable

import keras
import numpy as np

import keras_vae as kv
from keras_vae import data, evaluation, flows, likelihoods, networks, posteriors, priors

L = 16
# Where a uniform prior has the moments of N(0, I).
EDGE = 3**0.5


def flow(kind: str) -> flows.Flow:
    """A flow of the diagonal posterior."""
    return flows.Flow(posteriors.MultivariateNormalDiag(L), kind=kind)


POSTERIORS: dict[str, Callable[[], posteriors.Posterior]] = {
    "diag": lambda: posteriors.MultivariateNormalDiag(L),
    "tril": lambda: posteriors.MultivariateNormalTriL(L),
    "eigen": lambda: posteriors.MultivariateNormalEigen(L),
    "low_rank": lambda: posteriors.MultivariateNormalLowRank(L, rank=4),
    "iaf": lambda: flow("iaf"),
    "coupling": lambda: flow("coupling"),
    "kumaraswamy": lambda: posteriors.Kumaraswamy(L, low=-EDGE, high=EDGE),
}


def model(name: str, seed: int) -> kv.VAE:
    """The model with this posterior, and the prior that goes with it."""
    keras.utils.set_random_seed(seed)
    prior = priors.Uniform(L, low=-EDGE, high=EDGE) if name == "kumaraswamy" else priors.StandardNormal(L)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([512, 256]), POSTERIORS[name]()),
        kv.Decoder(networks.mlp([256, 512]), likelihoods.Bernoulli((28, 28, 1))),
        prior,
        seed=seed,
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    return vae


def spread(values: list[float]) -> str:
    """Mean, and the standard error where there are two."""
    error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):+.2f}{error}"


def main() -> None:
    """Train, print each number as it comes, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, nargs="+", default=[2, 5], help="when to measure, ascending")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=POSTERIORS, default=list(POSTERIORS))
    options = parser.parse_args()
    train, test = data.load("mnist", batch_size=128, binarize="dynamic")
    held_out = np.concatenate(list(test.as_numpy_iterator()))
    found: dict[str, list[list[float]]] = {name: [] for name in options.only}
    for seed in options.seeds:
        for name in options.only:
            vae, began, row = model(name, seed), time.process_time(), []
            for before, until in zip([0, *options.epochs], options.epochs, strict=False):
                vae.fit(train, epochs=until - before, verbose=0)
                row.append(vae.evaluate(held_out, batch_size=500, verbose=0, return_dict=True)["elbo"])
            row.append(evaluation.log_likelihood(vae, held_out[:2000], num_samples=100).mean)
            found[name].append(row)
            numbers = "  ".join(f"{number:.2f}" for number in row)
            print(f"seed {seed}  {name:12}  {numbers}  {time.process_time() - began:.0f} s", flush=True)

    columns = [f"ELBO after {n} epochs" for n in options.epochs] + ["log p(x)"]
    print("\n| posterior | " + " | ".join(columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    first = np.array(found[options.only[0]])
    for name, rows in found.items():
        if name == options.only[0]:
            cells = [f"{value:.2f}" for value in first.mean(axis=0)]
        else:
            cells = [spread(list(column)) for column in (np.array(rows) - first).T]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
