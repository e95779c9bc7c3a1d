"""What a loss of features does to pictures: the same VAE with and without it, seed by seed.

    python benchmarks/perceptual.py frey_faces.npz --seeds 0 1 2 --picture perceptual.png

Every number is of test images: KID and FID of samples under `image_features` and under a `networks.FeatureNetwork` of
another seed than that in the loss, the energy of the gradients of samples and reconstructions as a multiple of that of
the data, and the ELBO in nats.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np

import keras_vae as kv
from keras_vae import data, evaluation, likelihoods, networks, objectives, pictures, posteriors, priors, schedules

SHOWN = 12


def make(shape: tuple[int, ...], weight: float, features: keras.Layer, seed: int, latents: int, warm_up: int) -> kv.VAE:
    """A convolutional VAE; weight 0 is the plain one."""
    elbo = objectives.ELBO(schedules.Linear(warm_up))
    return kv.VAE(
        kv.Encoder(networks.conv([16, 32, 64]), posteriors.MultivariateNormalDiag(latents)),
        kv.Decoder(networks.conv([64, 32, 16]), likelihoods.Normal(shape)),
        priors.StandardNormal(latents),
        objectives.Perceptual(features, weight, elbo) if weight else elbo,
        seed=seed,
    )


def energy(images: np.ndarray) -> float:
    """The mean square of differences of neighbours."""
    return float(np.mean(np.diff(images, axis=1) ** 2) + np.mean(np.diff(images, axis=2) ** 2)) / 2


def measure(vae: kv.VAE, test: np.ndarray, judge: keras.Layer, samples: int) -> dict[str, float]:
    """The numbers of one model."""
    drawn, back = np.clip(vae.sample(samples, seed=0), 0, 1), np.clip(vae.reconstruct(test), 0, 1)
    covered = evaluation.precision_recall(test, drawn, judge)
    return {
        "kid": evaluation.kid(test, drawn).value,
        "kid_judge": evaluation.kid(test, drawn, judge).value,
        "fid_judge": evaluation.fid(test, drawn, judge).corrected,
        "kid_judge_reconstructions": evaluation.kid(test, back, judge).value,
        "precision": covered.precision,
        "recall": covered.recall,
        "sharp_samples": energy(drawn) / energy(test),
        "sharp_reconstructions": energy(back) / energy(test),
        "psnr": float(-10 * np.log10(np.mean((back - test) ** 2))),
        "elbo": vae.evaluate(test, return_dict=True, verbose=0, batch_size=200)["elbo"],
    }


def main() -> None:
    """Train, measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a folder of pictures, or another source of data.load")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--latents", type=int, default=16)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--warm-up", type=int, default=200)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    train, test = (np.concatenate(list(part)) for part in data.load(options.data))
    # They may be sorted by class.
    test = test[np.random.default_rng(1).permutation(len(test))[: options.samples]]
    judge, started = networks.FeatureNetwork(), time.process_time()
    judge.adapt(train, seed=100)
    print(f"features: {time.process_time() - started:.0f} s, {judge.accuracy:.0%} of what was done is told", flush=True)
    real = train[np.random.default_rng(0).permutation(len(train))[: len(test)]]
    print("train", evaluation.kid(test, real, judge), evaluation.fid(test, real, judge), flush=True)
    shown = {"data": test[:SHOWN]}
    features = networks.FeatureNetwork()
    features.adapt(train, seed=0)
    for seed in options.seeds:
        for weight in options.weights:
            keras.utils.set_random_seed(seed)
            steps = options.epochs * (len(train) // options.batch)
            vae, started = (
                make(test.shape[1:], weight, features, seed, options.latents, options.warm_up),
                time.process_time(),
            )
            vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(options.rate, steps, 0.05)))
            vae.fit(train, batch_size=options.batch, epochs=options.epochs, verbose=0)
            seconds = time.process_time() - started
            found = measure(vae, test, judge, options.samples)
            said = "  ".join(f"{name} {value:.4g}" for name, value in found.items())
            print(f"seed {seed}  weight {weight:g}  {seconds:.0f} s  {said}", flush=True)
            if seed == options.seeds[0]:
                shown[f"w = {weight:g}"] = vae.reconstruct(test[:SHOWN])
                shown[f"w = {weight:g}, samples"] = vae.sample(SHOWN, seed=1)
    if options.picture:
        pictures.draw_tiles(np.stack(list(shown.values())), list(shown)).savefig(options.picture)


if __name__ == "__main__":
    main()
