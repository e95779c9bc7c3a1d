"""Usage by default: how many codes are used after training, for every kind of codes, with the defaults of the package.

    python benchmarks/codes.py --path frey=frey_faces.npz --path jpegs=cifar10_jpeg/train --sets digits frey jpegs
    python benchmarks/codes.py --sets digits --kinds averages levels --seeds 0 1 --table

Every kind has about 256 codes, or of several a vector, on a grid of 4 x 4, dense layers of 256 and the same number of
steps of 100 examples. `usage` and `perplexity` are of the training examples, after training, the least of the depths;
the error is the root mean square error of the test examples' reconstructions, in units of the data's
deviation. Each row is written to the file of results when it is done, and not made again.
"""

import argparse
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import keras_vae as kv
from keras_vae import data, likelihoods, networks, objectives, posteriors, priors
from keras_vae.distributions.codes.codebooks import perplexity

GRID, UNITS, BATCH, MOST = (4, 4), 256, 100, 10_000
L = 16 * 8
SETS = ("digits", "frey", "mnist", "shapes", "jpegs")

KINDS: dict[str, Callable[[], posteriors.Quantizer]] = {
    "averages": lambda: posteriors.VectorQuantized(L, GRID),
    "gradient": lambda: posteriors.VectorQuantized(L, GRID, learned_by="gradient"),
    "kmeans": lambda: posteriors.VectorQuantized(L, GRID, start="kmeans"),
    "cosine": lambda: posteriors.VectorQuantized(L, GRID, cosine=True),
    "rotation": lambda: posteriors.VectorQuantized(L, GRID, through="rotation"),
    "levels": lambda: posteriors.FiniteScalar([8, 6, 5], GRID),
    "signs": lambda: posteriors.LookupFree(8, GRID),
    "residual": lambda: posteriors.Residual(posteriors.VectorQuantized(L, GRID, 64), 4),
    "residual_levels": lambda: posteriors.Residual(posteriors.FiniteScalar([5, 5, 5], GRID), 2),
    "residual_signs": lambda: posteriors.Residual(posteriors.LookupFree(6, GRID), 2),
    "grouped": lambda: posteriors.Grouped(posteriors.VectorQuantized(L // 2, GRID, 64), 2),
}


@functools.lru_cache(maxsize=1)
def images(name: str, path: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and test images of a set."""
    train, test = data.load(path, batch_size=500, seed=seed)
    found = []
    for dataset, most in ((train, MOST), (test, 1000)):
        batches = [np.asarray(batch) for batch, _ in zip(dataset, range(-(-most // 500)), strict=False)]
        found.append(np.concatenate(batches)[:most])
    return found[0], found[1]


def measured(name: str, kind: str, steps: int, seed: int, paths: dict[str, str]) -> dict[str, float]:
    """One training, and what is to be said of it."""
    train, test = images(name, paths.get(name, name), seed)
    keras.utils.set_random_seed(seed)
    posterior, began = KINDS[kind](), time.process_time()
    learned = any(word in type(getattr(posterior, "base", posterior)).__name__ for word in ("Vector",))
    vae = kv.VAE(
        kv.Encoder(networks.mlp([UNITS]), posterior),
        kv.Decoder(networks.mlp([UNITS]), likelihoods.Normal(train.shape[1:])),
        priors.UniformCodes.of(posterior),
        objectives.CommittedELBO() if learned else objectives.ELBO(),
        seed=seed,
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(train, batch_size=BATCH, epochs=max(1, round(steps * BATCH / len(train))), verbose=0)
    seconds = time.process_time() - began
    row: dict[str, float] = {}
    for split, x in (("", train), ("test_", test)):
        indices = np.asarray(vae.encode(x).indices)
        each = indices.reshape(-1, posterior.depth).T
        counts = [np.bincount(column, minlength=posterior.num_codes) for column in each]
        row[f"{split}usage"] = min(float(np.mean(count > 0)) for count in counts)
        row[f"{split}perplexity"] = min(float(perplexity(tf.constant(count, tf.float32))) for count in counts)
    error = vae.reconstruct(test) - test
    row |= {"error": float(np.sqrt(np.mean(error**2)) / test.std()), "seconds": seconds, "steps": int(vae.step)}
    return row | {"codes": posterior.num_codes, "depth": posterior.depth}


def table(results: dict[str, dict[str, float]]) -> str:
    """Rows of kinds within sets: means over the seeds, and the least usage and perplexity."""
    lines = ["| data | kind | codes | seeds | usage (least) | perplexity (least) | error | seconds |", "|---" * 8 + "|"]
    for name in SETS:
        for kind in KINDS:
            rows = [row for key, row in results.items() if key.split("/")[:2] == [name, kind]]
            if rows:
                depth = f"{rows[0]['depth']} x " if rows[0]["depth"] > 1 else ""
                least = {key: min(row[key] for row in rows) for key in ("usage", "perplexity")}
                mean = {key: np.mean([row[key] for row in rows]) for key in (*least, "error", "seconds")}
                lines.append(
                    f"| {name} | `{kind}` | {depth}{rows[0]['codes']} | {len(rows)} | {mean['usage']:.1%} "
                    f"({least['usage']:.1%}) | {mean['perplexity']:.0f} ({least['perplexity']:.0f}) | "
                    f"{mean['error']:.3f} | {mean['seconds']:.0f} |"
                )
    return "\n".join(lines)


def main() -> None:
    """Train what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["digits"])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--path", action="append", default=[], metavar="SET=PATH")
    parser.add_argument("--results", type=Path, default=Path("codes.json"))
    options = parser.parse_args()
    paths = dict(each.split("=", 1) for each in options.path)
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    for seed in options.seeds:
        for name in options.sets:
            for kind in options.kinds:
                key = f"{name}/{kind}/{options.steps}/{seed}"
                if key not in results:
                    results[key] = measured(name, kind, options.steps, seed, paths)
                    options.results.write_text(json.dumps(results, indent=1))
                    print(key, {k: round(v, 3) for k, v in results[key].items()}, flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
