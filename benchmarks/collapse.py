"""Does the game collapse? VAEGAN and a plain VAE of the same size, for many seeds and two small sets of pictures.

    python benchmarks/collapse.py --frey frey_faces.npz
    python benchmarks/collapse.py --sets digits --seeds 0 1 2

The digits are those of scikit-learn, 8x8; the file holds `images`, uint8 [1965, 28, 20]. Of each set three quarters are
trained on, in another order for each seed, and the rest is compared with as many samples. Everything else, networks,
likelihood, optimizer, number of steps, is the same for both models. The game begins after a third of the steps; its
other settings are the defaults.

A training has collapsed if, at its end, (1) a number is not finite, (2) samples differ from each other by less than
half of what data do (`spread`), (3) the discriminator is right about 98% of data and of samples in the last epoch, or
(4) the KID of the samples is more than twice that of the plain VAE of the same seed.

Each row is written to RUNS/results.json when it is there, and is not made again: started a second time, this goes on
where it was stopped. The table is printed.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_vae as kv
from keras_vae import evaluation, likelihoods, networks, posteriors, priors
from keras_vae.evaluation.findings.game import spread_of_samples

BATCH = 100
# Of each set: steps, latent dimensions, widths of the decoder (of the encoder the first), filters.
SETS: dict[str, dict[str, Any]] = {
    "digits": {"steps": 600, "latent_dim": 8, "units": [128, 128], "filters": [16, 32]},
    "frey": {"steps": 450, "latent_dim": 10, "units": [256, 512], "filters": [16, 32, 64]},
}
ALIKE, SURE, WORSE = 0.5, 0.98, 2.0


def pictures(name: str, frey: Path | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and test images in [0, 1], [N, H, W, 1]."""
    if name == "digits":
        from sklearn.datasets import load_digits

        images = load_digits().images / 16.0
    elif frey is None:
        raise SystemExit("--frey FILE names the file of the Frey faces; --sets digits does without.")
    else:
        images = np.load(frey)["images"].reshape(-1, 28, 20) / 255.0
    images = images[np.random.default_rng(seed).permutation(len(images)), ..., None].astype("float32")
    cut = 3 * len(images) // 4
    return images[:cut], images[cut:]


def trained(name: str, is_game: bool, train: np.ndarray, seed: int) -> tuple[kv.VAE, dict[str, list[float]]]:
    """A model at the end of its training, and its history."""
    keras.utils.set_random_seed(seed)
    size = SETS[name]
    steps = size["steps"] - size["steps"] % (len(train) // BATCH)
    parts = (
        kv.Encoder(networks.mlp(size["units"][:1]), posteriors.MultivariateNormalDiag(size["latent_dim"])),
        kv.Decoder(networks.mlp(size["units"]), likelihoods.Normal(train.shape[1:])),
        priors.StandardNormal(size["latent_dim"]),
    )
    game = {"filters": size["filters"], "start": steps // 3}
    vae = kv.VAEGAN(*parts, seed=seed, **game) if is_game else kv.VAE(*parts, seed=seed)
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps, alpha=0.1)))
    train = train[: len(train) // BATCH * BATCH]
    history = vae.fit(train, batch_size=BATCH, epochs=steps // (len(train) // BATCH), verbose=0)
    return vae, history.history


def measured(name: str, is_game: bool, frey: Path | None, seed: int) -> dict[str, float]:
    """The numbers of one training."""
    start = time.process_time()
    train, test = pictures(name, frey, seed)
    vae, history = trained(name, is_game, train, seed)
    drawn = np.clip(vae.sample(len(test), seed=0), 0.0, 1.0)
    found = {
        "kid": evaluation.kid(test, drawn).value,
        "neighbours": evaluation.nearest_neighbours(test, drawn).accuracy,
        "spread": spread_of_samples(vae, test),
        "elbo": vae.evaluate(test, verbose=0, return_dict=True)["elbo"],
        "seconds": time.process_time() - start,
    }
    names = ("told_real", "told_drawn", "decoder_waits", "discriminator_waits", "discriminator_resets")
    return found | {k: float(history[k][-1]) for k in names if k in history} | {"loss": float(history["loss"][-1])}


def reason(game: dict[str, float], plain: dict[str, float]) -> str:
    """Why a training counts as collapsed; nothing if it does not."""
    if not all(math.isfinite(value) for value in game.values()):
        return "not finite"
    if game["spread"] < ALIKE:
        return "samples are alike"
    if min(game["told_real"], game["told_drawn"]) >= SURE:
        return "the discriminator has won"
    return "worse than the plain VAE" if game["kid"] > WORSE * max(plain["kid"], 0.1) else ""


def table(results: dict[str, dict[str, float]]) -> str:
    """A row for each set and seed, and below the number of collapses of each set."""
    columns = ("spread", "told_real", "told_drawn", "decoder_waits", "discriminator_waits", "discriminator_resets")
    lines = [f"| set | seed | KID | plain | 1-NN | plain | {' | '.join(columns)} | ELBO | plain | collapsed |"]
    lines.append("|" + "---|" * (10 + len(columns)))
    collapses: dict[str, list[str]] = {}
    for key, game in results.items():
        name, kind, seed = key.split("-")
        plain = results.get(f"{name}-plain-{seed}")
        if kind == "plain" or plain is None:
            continue
        why = reason(game, plain)
        collapses.setdefault(name, []).append(why)
        cells = [name, seed, *(f"{row[n]:.2f}" for n in ("kid", "neighbours") for row in (game, plain))]
        cells += [f"{game.get(n, 0.0):.2f}" for n in columns]
        cells += [f"{row['elbo']:.1f}" for row in (game, plain)]
        lines.append(f"| {' | '.join(cells)} | {why or 'no'} |")
    counts = [f"{name}: {sum(map(bool, whys))} collapses in {len(whys)} seeds" for name, whys in collapses.items()]
    return "\n".join([*lines, "", *counts])


def main() -> None:
    """Train and measure what is not in the results yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/collapse"))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(20)))
    parser.add_argument("--frey", type=Path)
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    path = options.runs / "results.json"
    results: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}
    for seed in options.seeds:
        for name in options.sets:
            for kind in ("plain", "game"):
                key = f"{name}-{kind}-{seed}"
                if key in results:
                    continue
                keras.backend.clear_session()
                results[key] = measured(name, kind == "game", options.frey, seed)
                path.with_suffix(".new").write_text(json.dumps(results, indent=1))
                path.with_suffix(".new").replace(path)
                print(key, {k: round(v, 2) for k, v in results[key].items()}, flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
