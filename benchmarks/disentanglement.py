"""Disentanglement of every `shapes_*` config on rendered sprites: a table of all seeds.

    python benchmarks/disentanglement.py --runs runs/disentanglement --seeds 0 1 2

Runs go on where they were interrupted, and finished ones are only measured. `--set` shortens them. The numbers are of
the sprites that keras_vae renders, not of dSprites, unless `--set data.name=dsprites` says so.
"""

import argparse
import json
import subprocess
from pathlib import Path

import keras
import numpy as np

from keras_vae import codes, config, data, disentanglement

METHODS = ("beta", "tc", "factor", "dip", "joint", "cascade_continuous", "cascade")
# Enough for every measure, and a minute for all of them.
MAX_EXAMPLES = 10_000


def measure(run: Path) -> dict[str, float]:
    """All scores of a finished run, on all of its data; `shape_accuracy` of its discrete code, if it has one."""
    settings = config.read(run)
    vae = keras.saving.load_model(run / "vae.keras", compile=False)
    splits = data.open_source(settings.data.name, labels=True, seed=settings.train.seed)
    points, labels = [], []
    for split in (splits.train, splits.test):
        z, y = codes.points(vae, split.subset(range(min(len(split), MAX_EXAMPLES))).dataset(256))
        points.append(z)
        labels.append(y)
    z, factors = np.concatenate(points), np.concatenate(labels)
    columns = disentanglement.with_indices(z, vae.prior.blocks)
    found = disentanglement.scores(columns, factors)
    if any(kind == "one-hot" for kind, _ in vae.prior.blocks):
        found["shape_accuracy"] = disentanglement.unsupervised_accuracy(columns[:, -1], factors[:, 0])
    correlation = codes.aggregate(vae, splits.test.dataset(256)).total_correlation
    return found if correlation is None else {**found, "total_correlation": correlation}


def main() -> None:
    """Train what is not trained yet, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/disentanglement"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--set", nargs="+", default=[], metavar="key=value", help="as of keras-vae train")
    options = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    for method in options.methods:
        for seed in options.seeds:
            run = options.runs / f"{method}-{seed}"
            values = [f"train.seed={seed}", "export.formats=[]", *options.set]
            subprocess.run(["keras-vae", "train", f"shapes_{method}", "--run", str(run), "--set", *values], check=True)
            results[run.name] = measure(run)
            (options.runs / "results.json").write_text(json.dumps(results, indent=1))
    names = list(dict.fromkeys(name for found in results.values() for name in found))
    print("| run | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for run_name, found in results.items():
        cells = [f"{found[name]:.3f}" if name in found else "" for name in names]
        print(f"| {run_name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
