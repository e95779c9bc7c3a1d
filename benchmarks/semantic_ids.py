"""Identifiers of embeddings beside residual k-means: `python benchmarks/semantic_ids.py RUN...`.

For each run of the config semantic_ids, and for scikit-learn's k-means of the vectors, then of what it left over, and
so on, with as many stages of as many codes:

- the collision rate and the entropies of the digits, of training and of test rows;
- the error: root mean square of the rows less what is decoded of their identifiers, over their deviation;
- alike: mean cosine of two test rows that share the first digit, and the first two, beside that of any two;
- of `topics`, the mutual information of the first digit with the first topic, over the entropy of the topic.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.cluster import KMeans
from sklearn.metrics import homogeneity_score

from keras_vae.data.embeddings import topics
from keras_vae.evaluation.identifiers.tuples import SemanticIDs, semantic_ids
from keras_vae.evaluation.statistics import gather
from keras_vae_cli.commands import run_folder

Coder = Callable[[np.ndarray], tuple[SemanticIDs, np.ndarray]]
PAIRS = 200_000


def residual_k_means(train: np.ndarray, num_codes: int, num_stages: int, seed: int) -> Coder:
    """A function of rows that gives their identifiers and what these decode to."""
    stages, rest = [], train.astype(np.float64)
    for stage in range(num_stages):
        stages.append(KMeans(num_codes, n_init=1, random_state=seed + stage).fit(rest))
        rest = rest - stages[-1].cluster_centers_[stages[-1].labels_]

    def code(rows: np.ndarray) -> tuple[SemanticIDs, np.ndarray]:
        rest, digits = rows.astype(np.float64), []
        for fitted in stages:
            digits.append(fitted.predict(rest))
            rest = rest - fitted.cluster_centers_[digits[-1]]
        return SemanticIDs(np.stack(digits, axis=1).astype(np.int32), num_codes), rows - rest

    return code


def alike(rows: np.ndarray, digits: np.ndarray, depth: int, random: np.random.Generator) -> float:
    """The mean cosine of two rows with the same first `depth` digits, over all such pairs that were drawn."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    _, group = np.unique(digits[:, :depth], axis=0, return_inverse=True) if depth else (None, np.zeros(len(rows), int))
    order = np.argsort(group.ravel(), kind="stable")
    starts = np.searchsorted(group.ravel()[order], np.arange(group.max() + 1))
    sizes = np.diff([*starts, len(rows)])
    weights = sizes * (sizes - 1.0)
    chosen = random.choice(len(sizes), PAIRS, p=weights / weights.sum())
    first = (random.random(PAIRS) * sizes[chosen]).astype(int)
    second = (first + 1 + (random.random(PAIRS) * (sizes[chosen] - 1)).astype(int)) % sizes[chosen]
    pairs = order[starts[chosen] + first], order[starts[chosen] + second]
    return float(np.mean(np.sum(unit[pairs[0]] * unit[pairs[1]], axis=1)))


def row(name: str, code: Coder, train: np.ndarray, test: np.ndarray) -> str:
    """A row of the table."""
    of_train, of_test = code(train)[0], code(test)
    ids, decoded = of_test
    error = np.sqrt(np.mean((test - decoded) ** 2) / np.mean((test - train.mean(axis=0)) ** 2))
    cosines = [alike(test, ids.digits, depth, np.random.default_rng(0)) for depth in (1, 2, 0)]
    _, of_topics = topics.make(topics.TEST, 1)
    is_topics = np.array_equal(test, topics.make(topics.TEST, 1)[0])
    told = homogeneity_score(of_topics[:, 0], ids.digits[:, 0]) if is_topics else float("nan")
    cells = [
        *(f"{each.collision_rate:.1%}" for each in (of_train, ids)),
        ", ".join(f"{value:.2f}" for value in of_train.entropies),
        f"{min(of_train.usage):.1%}",
        f"{error:.3f}",
        ", ".join(f"{value:.2f}" for value in cosines),
        f"{told:.2f}",
    ]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    print(
        "| | collisions, train | test | entropies, bits | least usage | error | cosine: 1 digit, 2, any | topic told |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for number, run in enumerate(parser.parse_args().runs):
        settings, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
        train, test = (gather(part.dataset(500))[0] for part in (splits.train, splits.test))

        def code(rows: np.ndarray, vae=vae) -> tuple[SemanticIDs, np.ndarray]:
            q = vae.encode(rows)
            return semantic_ids(vae, rows), np.asarray(vae.decode(tf.convert_to_tensor(q.mean())).mean())

        posterior = vae.encoder.posterior
        print(row(f"seed {settings.train.seed}", code, train, test), flush=True)
        if number == 0:
            k_means = residual_k_means(train, posterior.num_codes, posterior.depth, 0)
            print(row("residual k-means", k_means, train, test), flush=True)


if __name__ == "__main__":
    main()
