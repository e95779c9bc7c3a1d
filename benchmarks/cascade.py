"""CascadeVAE by the protocol of its paper, beside FactorVAE and beta-VAE, on all sprites of the grid of dSprites.

    python benchmarks/cascade.py --runs runs/cascade --methods cascade factor beta --seeds 0 1 2 --steps 300000

Networks, learning rate and schedule are those of the authors' code
(https://github.com/snu-mllab/DisentanglementICML19): convolutions of 32, 32, 64, 64 filters with L2 of 0.00004 / 2,
Adam at 0.0001, batches of 64, fifteen stages, of which the fifth switches the code on, and thirty looks. `--steps`
other than 300,000 shortens all stages alike; who shortens them much wants a higher `--learning-rate`. A look is the
score of Kim and Mnih 2018 by 800 votes of 100 sprites among the latents whose KL exceeds 0.1 nats, as there, tested on
5,000 other votes, of 20,000 sprites drawn once.

Two protocols come of it: the score of the last checkpoint, and the best of the looks, by which the authors choose the
checkpoint. A look is written to RUNS/METHOD-SEED/looks.json when it is done; started a second time, this goes on where
it was stopped. `--until` stops all runs at a step, to be continued later.

The sprites are rendered by keras_vae (`data.shapes`), with the factors and the proportions of dSprites; they are not
its pictures.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_vae as kv
from keras_vae import callbacks, data, disentanglement, likelihoods, objectives, posteriors, priors
from keras_vae.evaluation.statistics import points

GRID = "shapes/size=64,scales=6,orientations=40,positions=32"
BATCH, STAGES, LOOKS = 64, 15, 30
LOOKED_AT, VOTES, PER_VOTE, LEAST_KL = 20_000, 800, 100, 0.1
# Of the paper with three classes, of Kim and Mnih 2018 on dSprites, and of the better beta-VAE in the paper's table.
LATENTS = {"cascade": 6, "factor": 10, "beta": 10}
TC_WEIGHT, KL_WEIGHT = 35.0, 4.0
# Of the latents of CascadeVAE that are released, in the authors' code.
LOW = 0.1


def network(*layers: keras.Layer) -> keras.Sequential:
    """Layers with the authors' regularizer."""
    for layer in layers:
        if hasattr(layer, "kernel_regularizer"):
            layer.kernel_regularizer = keras.regularizers.L2(0.00002)
    return keras.Sequential(layers)


def convolution(kind: type[keras.Layer], filters: int, activation: str | None = "relu") -> keras.Layer:
    """Of stride 2."""
    return kind(filters, 4, strides=2, padding="same", activation=activation, kernel_initializer="he_normal")


def make(method: str, seed: int, steps: int, side: int, learning_rate: float = 1e-4, low: float = LOW) -> kv.VAE:
    """A model that was never trained, compiled."""
    keras.utils.set_random_seed(seed)
    down, up, dense = keras.layers.Conv2D, keras.layers.Conv2DTranspose, keras.layers.Dense
    smallest = (side // 16, side // 16, 64)
    size = LATENTS[method]
    parts = (
        kv.Encoder(
            network(*(convolution(down, n) for n in (32, 32, 64, 64)), keras.layers.Flatten(), dense(256, "relu")),
            posteriors.MultivariateNormalDiag(size),
        ),
        kv.Decoder(
            network(
                dense(256, "relu"),
                dense(int(np.prod(smallest)), "relu"),
                keras.layers.Reshape(smallest),
                *(convolution(up, n) for n in (64, 32, 32)),
                convolution(up, 1, None),
            ),
            likelihoods.Bernoulli((side, side, 1)),
        ),
        priors.StandardNormal(size),
    )
    stage = steps // STAGES
    if method == "cascade":
        cascade = objectives.InformationCascade(low=low, stage=stage)
        vae: kv.VAE = kv.CascadeVAE(*parts, cascade, seed=seed, num_classes=3, switch_on=4 * stage)
    elif method == "factor":
        vae = kv.FactorVAE(*parts, seed=seed, tc_weight=TC_WEIGHT)
    else:
        vae = kv.VAE(*parts, objectives.ELBO(kl_weight=KL_WEIGHT), seed=seed)
    vae.compile(keras.optimizers.Adam(learning_rate))
    return vae


def kl_per_dim(vae: kv.VAE, shown: tf.data.Dataset) -> np.ndarray:
    """KL(q(z_j|x) || p(z_j)) in nats, a mean over the data, [L], of the latents that have an encoder."""

    @tf.function
    def of_batch(x: tf.Tensor) -> tf.Tensor:
        q = vae.encoder(x)
        mean, deviation = q.mean(), q.stddev()
        return 0.5 * tf.reduce_sum(mean**2 + deviation**2 - 1.0 - 2.0 * tf.math.log(deviation), axis=0)

    count = sum(len(x) for x in shown)
    return np.sum([of_batch(x) for x in shown], axis=0) / count


def look(vae: kv.VAE, shown: tf.data.Dataset, factors: np.ndarray) -> dict[str, float]:
    """The score, and what the code of classes is."""
    z, _ = points(vae, shown)
    columns = disentanglement.with_indices(z, vae.prior.blocks)
    classes = any(kind == "one-hot" for kind, _ in vae.prior.blocks)
    kl = kl_per_dim(vae, shown)
    alive = [i for i in range(columns.shape[1]) if i >= len(kl) or kl[i] > LEAST_KL]
    is_on = not classes or len(np.unique(columns[:, -1])) > 1
    kept = [i for i in alive if i < len(kl) or is_on]
    found = {"alive": float(sum(value > LEAST_KL for value in kl)), "kl": float(np.sum(kl))}
    if not kept:
        return {**found, "score": 1.0 / len(factors.T)}
    found["score"] = disentanglement.factor_vae_score(
        columns[:, kept], factors, PER_VOTE, VOTES, discrete_codes=[k for k, i in enumerate(kept) if i >= len(kl)]
    )
    if classes:
        found["shape_accuracy"] = disentanglement.unsupervised_accuracy(columns[:, -1], factors[:, 0])
    return found


class Looks(keras.callbacks.Callback):
    """A look at the end of each epoch, which is a thirtieth of the steps, and the model of the best one."""

    def __init__(self, run: Path, every: int, shown: tf.data.Dataset, factors: np.ndarray) -> None:
        super().__init__()
        self.run, self.every, self.shown, self.factors = run, every, shown, factors
        self.started = time.process_time()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Look, and write it down."""
        rows = [row for row in looks_of(self.run) if row["step"] <= epoch * self.every]
        minutes = (rows[-1]["minutes"] if rows else 0.0) + (time.process_time() - self.started) / 60
        row = {"step": (epoch + 1) * self.every, **look(self.model, self.shown, self.factors)}
        row |= {name: float(value) for name, value in (logs or {}).items() if name in ("elbo", "kl", "log_likelihood")}
        print({**row, "minutes": round(minutes, 1)}, flush=True)
        if row["score"] > max((other["score"] for other in rows), default=0.0):
            self.model.save(self.run / "best.keras")
        place = self.run / "looks.json"
        place.with_suffix(".new").write_text(json.dumps([*rows, {**row, "minutes": minutes}], indent=1))
        place.with_suffix(".new").replace(place)
        self.started = time.process_time()


def looks_of(run: Path) -> list[dict[str, float]]:
    """Those that were taken."""
    place = run / "looks.json"
    return json.loads(place.read_text()) if place.exists() else []


def train(method: str, seed: int, options: argparse.Namespace, images: data.Arrays, factors: np.ndarray) -> None:
    """Begin or go on, up to `--until`."""
    run = options.runs / f"{method}-{seed}"
    run.mkdir(parents=True, exist_ok=True)
    every = options.steps // LOOKS
    epochs = min(LOOKS, (options.until or options.steps) // every)
    vae = make(method, seed, options.steps, images.event_shape[0], options.learning_rate, options.low)
    what = f"{options.grid} {options.steps} {options.learning_rate}"
    # Not named where it is the usual one, so that runs from before the option go on.
    if options.low != LOW and method == "cascade":
        what += f" {options.low}"
    checkpoints = callbacks.Checkpoints(run / "checkpoints", seconds=120, run=what)
    position = checkpoints.restore(vae)
    first = position.epoch if position else 0
    if first >= epochs:
        return
    chosen = np.random.default_rng(0).choice(len(images), min(LOOKED_AT, len(images)), replace=False)
    shown = images.subset(np.sort(chosen)).dataset(256)
    vae.fit(
        images.stream(BATCH, seed, start_step=int(vae.step)),
        epochs=epochs,
        initial_epoch=first,
        steps_per_epoch=every,
        callbacks=[Looks(run, every, shown, factors[np.sort(chosen)]), checkpoints],
        verbose=0,
    )


def table(runs: Path) -> str:
    """Both protocols for each run."""
    lines = [
        "| run | steps | last | best of the looks | at | shape, last | alive | ELBO | core-minutes |",
        "|---" * 9 + "|",
    ]
    for place in sorted(runs.glob("*/looks.json")):
        rows = looks_of(place.parent)
        last, best = rows[-1], max(rows, key=lambda row: row["score"])
        shape = f"{last['shape_accuracy']:.2f}" if "shape_accuracy" in last else ""
        name = place.parent.name
        lines.append(
            f"| {name} | {last['step']:,} | {last['score']:.3f} | {best['score']:.3f} | {best['step']:,} | "
            f"{shape} | {last['alive']:.0f} | {last['elbo']:.1f} | {last['minutes']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Train what is not trained yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/cascade"))
    parser.add_argument("--methods", nargs="+", choices=LATENTS, default=list(LATENTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300_000, help="of the whole schedule")
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="but of FactorVAE's discriminator")
    parser.add_argument("--low", type=float, default=LOW, help="weight of released latents, of CascadeVAE")
    parser.add_argument("--until", type=int, help="the step at which to stop; the end unless given")
    parser.add_argument("--grid", default=GRID, help="the sprites, whose side is a multiple of 16")
    options = parser.parse_args()
    images = data.read_all(options.grid)
    grid = data.shapes.FactorGrid.parse(options.grid)
    factors = data.shapes.factors_of(data.shapes.order_of(grid), grid)
    for seed in options.seeds:
        for method in options.methods:
            train(method, seed, options, images, factors[:, np.ptp(factors, axis=0) > 0])
    print(table(options.runs))


if __name__ == "__main__":
    main()
