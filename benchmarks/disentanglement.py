"""Disentanglement of the `shapes_*` configs on rendered sprites: a table of all seeds.

`gap_scale` and the like are the terms of which `mig` is the mean: how much the best latent knows of a factor beyond
what the second best does, as a share of all there is to know.

    python benchmarks/disentanglement.py --runs runs/disentanglement --seeds 0 1 2

Each row is written to RUNS/results.json when it is done, and is not made again: started a second time, this goes on
where it was stopped, in the middle of a training too. `--set` shortens the trainings. The numbers are of the sprites
that keras_vae renders, not of dSprites, unless `--set data.name=dsprites` says so.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

METHODS = ("beta", "tc", "factor", "dip", "info", "capacity", "cascade_continuous", "cascade")
# Enough for every measure, and a minute for all of them.
MAX_EXAMPLES = 10_000


def columns_and_factors(run: Path) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Of a finished run and all of its data: the points of q(z|x), a class as one column, the factors, and which
    columns are classes."""
    import keras

    from keras_vae import data, disentanglement
    from keras_vae.evaluation.statistics import points as points_of
    from keras_vae_cli.commands import build

    settings = build.read(run)
    vae = keras.saving.load_model(run / "vae.keras", compile=False)
    splits = data.read_splits(settings.data.name, labels=True, seed=settings.train.seed)
    points, labels = [], []
    for split in (splits.train, splits.test):
        z, y = points_of(vae, split.subset(range(min(len(split), MAX_EXAMPLES))).dataset(256))
        points.append(z)
        labels.append(y)
    kinds = [kind for kind, size in vae.prior.blocks for _ in range(1 if kind == "one-hot" else size)]
    classes = [i for i, kind in enumerate(kinds) if kind == "one-hot"]
    return disentanglement.with_indices(np.concatenate(points), vae.prior.blocks), np.concatenate(labels), classes


def measure(run: Path) -> dict[str, float]:
    """All scores of a finished run, on all of its data; `shape_accuracy` of its discrete code, if it has one."""
    import keras

    from keras_vae import data, disentanglement
    from keras_vae.data.shapes import FACTORS
    from keras_vae.evaluation.aggregate import aggregate_posterior
    from keras_vae_cli.commands import build

    settings = build.read(run)
    vae = keras.saving.load_model(run / "vae.keras", compile=False)
    splits = data.read_splits(settings.data.name, labels=True, seed=settings.train.seed)
    columns, factors, classes = columns_and_factors(run)
    found = disentanglement.scores(columns, factors, discrete_codes=classes)
    changing = [name for name, column in zip(FACTORS, factors.T, strict=True) if np.ptp(column) > 0]
    gaps = disentanglement.information_gaps(columns, factors)
    found.update({f"gap_{name}": float(gap) for name, gap in zip(changing, gaps, strict=True)})
    if classes:
        found["shape_accuracy"] = disentanglement.unsupervised_accuracy(columns[:, -1], factors[:, 0])
    correlation = aggregate_posterior(vae, splits.test.dataset(256)).total_correlation
    return found if correlation is None else {**found, "total_correlation": correlation}


def table(results: dict[str, dict[str, Any]]) -> str:
    """All rows, and below them the mean over the seeds of each method."""
    names = list(dict.fromkeys(name for row in results.values() for name in row["scores"]))
    lines = ["| run | " + " | ".join(names) + " | minutes |", "|" + "---|" * (len(names) + 2)]
    means: dict[str, list[dict[str, float]]] = {}
    for run, row in results.items():
        means.setdefault(f"{run.rpartition('-')[0]}, mean", []).append({**row["scores"], "minutes": row["minutes"]})
    rows = {run: [{**row["scores"], "minutes": row["minutes"]}] for run, row in results.items()}
    for run, found in {**rows, **means}.items():
        cells = [f"{np.mean([s[name] for s in found]):.3f}" if name in found[0] else "" for name in [*names, "minutes"]]
        lines.append(f"| {run} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Train and measure what is not in the results yet, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/disentanglement"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--set", nargs="+", default=[], metavar="key=value", help="as of keras-vae train")
    options = parser.parse_args()
    path = options.runs / "results.json"
    results: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    if any(row["set"] != options.set for row in results.values()):
        parser.error(f"{path} holds rows of another --set: give the same one, or another folder.")
    for seed in options.seeds:
        for method in options.methods:
            run = options.runs / f"{method}-{seed}"
            if run.name in results:
                continue
            start = time.perf_counter()
            values = [f"train.seed={seed}", "export.formats=[]", *options.set]
            program = [str(Path(sys.executable).with_name("keras-vae")), "train", f"shapes_{method}"]
            subprocess.run([*program, "--run", str(run), "--set", *values], check=True)
            minutes = (time.perf_counter() - start) / 60
            results[run.name] = {"scores": measure(run), "minutes": minutes, "set": options.set}
            path.with_suffix(".new").write_text(json.dumps(results, indent=1))
            path.with_suffix(".new").replace(path)
    print(table(results))


if __name__ == "__main__":
    main()
