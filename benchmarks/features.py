"""Which features tell what is wrong with images: the fixed ones, or those of a network that learned from the data.

    python benchmarks/features.py my_pictures

Images that the network has not seen, some of them spoiled, against others: the KID in its own standard errors. Among
the faults are some that the network was taught to tell (blur, noise, tiles, another image mixed in, gray), and others.
"""

import argparse
import time

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from keras_vae import data, evaluation, networks

MOST = 1000


def warped(x: np.ndarray, pixels: float, random: np.random.Generator) -> np.ndarray:
    """Bent by smooth shifts of so many pixels."""
    made, (height, width) = np.empty_like(x), x.shape[1:3]
    rows, columns = np.mgrid[:height, :width].astype(float)
    for image, out in zip(x, made, strict=True):
        shifts = gaussian_filter(random.normal(size=(2, height, width)), (0, 3, 3))
        shifts *= pixels / shifts.std()
        for channel in range(x.shape[-1]):
            at = [rows + shifts[0], columns + shifts[1]]
            out[..., channel] = map_coordinates(image[..., channel], at, order=1, mode="nearest")
    return made


def tiled(x: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Cut into count x count tiles, in another order for each image."""
    n, height, width, channels = x.shape
    a, b = height // count, width // count
    made = x.copy()
    tiles = x[:, : a * count, : b * count].reshape(n, count, a, count, b, channels).swapaxes(2, 3)
    tiles = tiles.reshape(n, count * count, a, b, channels)
    tiles = np.stack([each[random.permutation(count * count)] for each in tiles])
    tiles = tiles.reshape(n, count, count, a, b, channels).swapaxes(2, 3)
    made[:, : a * count, : b * count] = tiles.reshape(n, a * count, b * count, channels)
    return made


def faults(x: np.ndarray, random: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """By name, the images with more and more of it."""
    noise, half = random.normal(size=x.shape), x.shape[1] // 2
    found = {
        "nothing": [x],
        "blur of 0.4, 0.7 pixels": [gaussian_filter(x, (0, s, s, 0)) for s in (0.4, 0.7)],
        "noise of 0.03, 0.06": [x + s * noise for s in (0.03, 0.06)],
        "2x2, 4x4 tiles shuffled": [tiled(x, n, random) for n in (2, 4)],
        "10%, 20% of another image": [(1 - s) * x + s * np.roll(x, 1, axis=0) for s in (0.1, 0.2)],
        "contrast of 0.9, 0.8": [0.5 + s * (x - 0.5) for s in (0.9, 0.8)],
        "bent by 0.5, 1 pixel": [warped(x, s, random) for s in (0.5, 1.0)],
        "16, 8 levels": [np.round(x * n) / n for n in (16, 8)],
        "half, all upside down": [np.concatenate([x[::2], x[1::2, ::-1]]), x[:, ::-1]],
        "lower half of another image": [
            np.concatenate([x[:, :half], np.roll(x, 1, axis=0)[:, half:]], axis=1),
        ],
    }
    if x.shape[-1] == 3:
        found["30%, 100% gray"] = [(1 - s) * x + s * x.mean(axis=-1, keepdims=True) for s in (0.3, 1.0)]
        found["gamma of red and blue 1.25, 1.6"] = [
            np.stack([x[..., 0] ** g, x[..., 1], x[..., 2] ** (1 / g)], axis=-1) for g in (1.25, 1.6)
        ]
    return found


def main() -> None:
    """Train, spoil, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a folder of pictures, or another source of data.load, with or without labels")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        parts = data.load(options.data, labels=True)
    except ValueError:
        parts = data.load(options.data)
    batches = [list(part.as_numpy_iterator()) for part in parts]
    labelled = isinstance(batches[0][0], tuple)
    train, test = (np.concatenate([b[0] if labelled else b for b in part]) for part in batches)
    random = np.random.default_rng(options.seed)
    if len(test) < 2 * MOST:
        # The images to compare are then some that the network does not learn from.
        order = random.permutation(len(train))
        kept = min(MOST, len(train) // 4)
        test, train = train[order[: 2 * kept]], train[order[2 * kept :]]
    order = random.permutation(len(test))
    real, x = np.array_split(test[order][: 2 * MOST], 2)
    spoiled = faults(x, random)
    if labelled and len(test) >= 2 * MOST:
        labels = np.concatenate([b[1] for b in batches[1]])[order][: 2 * MOST]
        of_x, classes = labels[len(real) :], np.unique(labels)
        spoiled["without 3, 5 of the classes"] = [x[~np.isin(of_x, classes[:n])] for n in (3, 5)]
    learned, started = networks.FeatureNetwork(), time.process_time()
    learned.adapt(train, seed=options.seed)
    seconds = time.process_time() - started
    print(f"{len(train):,} images, {seconds:.0f} s of the processor; {learned.accuracy:.0%} of what was done is told")
    print(f"{'fault':35}{'fixed':>20}{'learned':>20}")
    for name, grades in spoiled.items():
        cells = []
        for features in (None, learned):
            found = [evaluation.kid(real, np.clip(images, 0, 1).astype("float32"), features) for images in grades]
            cells.append(", ".join(f"{one.value / one.standard_error:.1f}" for one in found))
        print(f"{name:35}{cells[0]:>20}{cells[1]:>20}", flush=True)


if __name__ == "__main__":
    main()
