"""Is this one normal? Scores of VAEs beside PCA, an isolation forest and PyOD's VAE, on anomalies with known labels.

    python benchmarks/anomalies.py                                        # without PyOD
    python benchmarks/anomalies.py --peers benchmarks/peers/bin/python    # see benchmarks/requirements.txt
    python benchmarks/anomalies.py --cases table mnist --seeds 0 1

Cases, each for every seed:

- `digits`: the 8x8 digits of scikit-learn, those of two classes left out, seed and seed + 5, one after the other;
- `letters`: MNIST in black and white against letters drawn in Pillow's own font, turned, moved and of several sizes,
  without those that look like digits; they are of one hand, and no EMNIST;
- `blank`: MNIST against pictures that are black but for at most three white pixels, where a likelihood fails;
- `table`: scikit-learn's breast_cancer, benign ones against malignant, standardised by the training rows.

The middle two are the case `mnist`. All learn from normal examples alone, and training stops by the ELBO of held-out
normal ones. Writes benchmarks/results/anomalies.json and .md: the mean AUROC over the seeds, with the standard
deviation of one; what stands there of other cases and seeds stays.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score

import keras_vae as kv
from keras_vae import data, evaluation, likelihoods, networks, posteriors, priors
from keras_vae.evaluation.normality.kinds import TABLED, kinds_of
from keras_vae.evaluation.statistics import gather

RESULTS = Path(__file__).parent / "results"
PEER = Path(__file__).parent / "contestants" / "pyod_vae.py"
LETTERS = "ACDEFHKLMNPRTUVWXYadefhkmnprtuwxy"
# Training, validation and test digits of MNIST, and anomalies.
SIZES = (6_000, 1_000, 1_000, 1_000)
SAMPLES = 16


class Case(NamedTuple):
    """Normal examples to learn from, to stop by and to be told from anomalies, by the name of their kind."""

    train: np.ndarray
    validation: np.ndarray
    normal: np.ndarray
    anomalies: dict[str, np.ndarray]
    model: Callable[[], kv.VAE]
    batch_size: int
    epochs: int


def vae(likelihood: likelihoods.Likelihood, units: list[int], latent_dim: int, seed: int) -> kv.VAE:
    """A plain VAE of dense networks."""
    return kv.VAE(
        kv.Encoder(networks.mlp(units), posteriors.MultivariateNormalDiag(latent_dim)),
        kv.Decoder(networks.mlp(units[::-1]), likelihood),
        priors.StandardNormal(latent_dim),
        seed=seed,
    )


def parted(x: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """60% to learn from, 15% to stop by, 25% to be judged by."""
    x = x[rng.permutation(len(x))]
    return np.split(x, [int(0.6 * len(x)), int(0.75 * len(x))])


def digits(seed: int) -> Iterator[Case]:
    """Two classes, left out one after the other."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32").reshape(-1, 8, 8, 1)
    for left_out in (seed % 10, (seed + 5) % 10):
        parts = parted(x[y != left_out], np.random.default_rng(seed))
        make = lambda: vae(likelihoods.Binomial((8, 8, 1), 16), [256, 128], 12, seed)  # noqa: E731
        yield Case(*parts, {"digits": x[y == left_out]}, make, 64, 150)


def mnist(seed: int) -> Iterator[Case]:
    """Black and white digits against letters and blank pictures."""
    rng = np.random.default_rng(seed)
    splits = data.read_splits("mnist")
    learned, test = (gather(part.dataset(1000))[0] >= 0.5 for part in (splits.train, splits.test))
    learned = learned[rng.permutation(len(learned))[: SIZES[0] + SIZES[1]]].astype("float32")
    test = test[rng.permutation(len(test))[: SIZES[2]]].astype("float32")
    make = lambda: vae(likelihoods.Bernoulli((28, 28, 1)), [256, 128], 20, seed)  # noqa: E731
    others = {"letters": letters(SIZES[3], rng), "blank": blank(SIZES[3], rng)}
    yield Case(learned[: SIZES[0]], learned[SIZES[0] :], test, others, make, 100, 60)


def letters(n: int, rng: np.random.Generator) -> np.ndarray:
    """Black and white letters [n, 28, 28, 1] in Pillow's own font."""
    found = np.zeros((n, 28, 28, 1), "float32")
    for picture in found:
        letter, size = LETTERS[rng.integers(len(LETTERS))], int(rng.integers(19, 27))
        large = Image.new("L", (56, 56))
        font = ImageFont.load_default(size=size)
        place = (28 + int(rng.integers(-2, 3)), 28 + int(rng.integers(-2, 3)))
        ImageDraw.Draw(large).text(place, letter, 255, font, anchor="mm", stroke_width=int(rng.integers(0, 2)))
        turned = large.rotate(rng.uniform(-20, 20), Image.Resampling.BILINEAR).crop((14, 14, 42, 42))
        picture[..., 0] = np.asarray(turned) >= 128
    return found


def blank(n: int, rng: np.random.Generator) -> np.ndarray:
    """Black pictures [n, 28, 28, 1] with 0 to 3 white pixels."""
    found = np.zeros((n, 28 * 28), "float32")
    for picture in found:
        picture[rng.integers(0, 28 * 28, rng.integers(0, 4))] = 1
    return found.reshape(n, 28, 28, 1)


def table(seed: int) -> Iterator[Case]:
    """Benign against malignant."""
    x, y = load_breast_cancer(return_X_y=True)
    parts = parted(x[y == 1], np.random.default_rng(seed))
    mean, deviation = parts[0].mean(axis=0), parts[0].std(axis=0)
    scaled = [((part - mean) / deviation).astype("float32") for part in (*parts, x[y == 0])]
    make = lambda: vae(likelihoods.Normal((30,), scale="per_pixel"), [64, 32], 8, seed)  # noqa: E731
    yield Case(*scaled[:3], {"table": scaled[3]}, make, 32, 300)


CASES: dict[str, Callable[[int], Iterator[Case]]] = {"digits": digits, "mnist": mnist, "table": table}


def trained(case: Case, seed: int) -> kv.VAE:
    """The model of a case at its best by held-out normal examples."""
    keras.utils.set_random_seed(seed)
    model = case.model()
    model.compile(keras.optimizers.Adam(1e-3))
    stop = keras.callbacks.EarlyStopping("val_elbo", mode="max", patience=10, restore_best_weights=True)
    options = {"batch_size": case.batch_size, "epochs": case.epochs, "callbacks": [stop], "verbose": 0}
    model.fit(case.train, validation_data=case.validation, **options)
    return model


# The method, its scores of normal examples, and of anomalies by the name of their kind.
Scored = Iterator[tuple[str, np.ndarray, dict[str, np.ndarray]]]


def ours(case: Case, seed: int) -> Scored:
    """Scores of normal examples and of anomalies, of every kind that the model has."""
    model = trained(case, seed)
    for kind in (kind for kind in TABLED if kind in kinds_of(model)):
        options = {"reference": case.validation} if kind == "typicality" else {}

        def score(x: np.ndarray, kind: str = kind, options: dict = options) -> np.ndarray:
            return evaluation.scores(model, x, kind, num_samples=SAMPLES, **options)

        yield f"VAE, {kind}", score(case.normal), {name: score(x) for name, x in case.anomalies.items()}


def simple(case: Case, seed: int) -> Scored:
    """PCA and an isolation forest, on the values as they are."""
    train, good = (x.reshape(len(x), -1) for x in (case.train, case.normal))
    bad = {name: x.reshape(len(x), -1) for name, x in case.anomalies.items()}
    pca = PCA(0.9, svd_solver="full").fit(train)

    def error(x: np.ndarray) -> np.ndarray:
        return -np.sum((x - pca.inverse_transform(pca.transform(x))) ** 2, axis=1)

    yield "PCA, reconstruction (90% of the variance)", error(good), {name: error(x) for name, x in bad.items()}
    forest = IsolationForest(random_state=seed).fit(train)
    yield "IsolationForest", forest.score_samples(good), {name: forest.score_samples(x) for name, x in bad.items()}


def peer(case: Case, seed: int, python: Path) -> Scored:
    """PyOD's VAE with its own settings, in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        parts = {"train": case.train, "normal": case.normal, **case.anomalies}
        np.savez(given, **{name: x.reshape(len(x), -1) for name, x in parts.items()})
        subprocess.run([python, PEER, given, found, str(seed), str(case.batch_size)], check=True)
        with np.load(found) as scores:
            yield "PyOD 3.6.7 VAE", -scores["normal"], {name: -scores[name] for name in case.anomalies}


def run(names: list[str], seeds: list[int], python: Path | None) -> list[dict[str, object]]:
    """All results, one after the other."""
    found: list[dict[str, object]] = []
    for name in names:
        for seed in seeds:
            for case in CASES[name](seed):
                began = time.process_time()
                scored = [*ours(case, seed), *simple(case, seed), *([] if python is None else peer(case, seed, python))]
                for method, good, others in scored:
                    for of, bad in others.items():
                        is_bad = np.concatenate([np.zeros(len(good)), np.ones(len(bad))])
                        values = -np.concatenate([good, bad])
                        auroc, auprc = roc_auc_score(is_bad, values), average_precision_score(is_bad, values)
                        found.append({"case": of, "seed": seed, "method": method, "auroc": auroc, "auprc": auprc})
                        print(f"{of:8} {seed} {method:42} AUROC {auroc:.3f}  AUPRC {auprc:.3f}", flush=True)
                print(f"{time.process_time() - began:.0f} s of the processor", flush=True)
    return found


def as_table(found: list[dict[str, object]]) -> str:
    """Markdown: a row for each method, a column for each case, the best of a column in bold."""
    cases, methods = (list(dict.fromkeys(str(row[key]) for row in found)) for key in ("case", "method"))
    cells: dict[tuple[str, str], list[float]] = {}
    for row in found:
        cells.setdefault((str(row["method"]), str(row["case"])), []).append(float(str(row["auroc"])))
    best = {case: max(np.mean(v) for (_, of), v in cells.items() if of == case) for case in cases}
    lines = [f"| AUROC | {' | '.join(cases)} |", f"|---|{'---|' * len(cases)}"]
    for method in methods:
        texts = []
        for case in cases:
            values = cells.get((method, case))
            text = "" if values is None else f"{np.mean(values):.3f} ± {np.std(values):.3f}"
            texts.append(f"**{text}**" if values and np.mean(values) == best[case] else text)
        lines.append(f"| {method} | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--peers", type=Path, help="a Python with PyOD and torch")
    parser.add_argument("--output", type=Path, default=RESULTS / "anomalies.json")
    arguments = parser.parse_args()
    found = run(arguments.cases, arguments.seeds, arguments.peers)
    if arguments.output.exists():
        measured = {(row["case"], row["seed"]) for row in found}
        before = json.loads(arguments.output.read_text())
        found = [row for row in before if (row["case"], row["seed"]) not in measured] + found
    arguments.output.write_text(json.dumps(found, indent=1) + "\n")
    arguments.output.with_suffix(".md").write_text(as_table(found))
    print(as_table(found))


if __name__ == "__main__":
    main()
