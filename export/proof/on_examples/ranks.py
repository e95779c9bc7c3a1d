"""Whether the scores of a file tell anomalies from normal examples as well as those of another model do."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_vae.export.proof import fresh
from keras_vae.export.proof.battery import Arrays
from keras_vae.export.proof.fresh import GENEROUS, Call, FreshProcessError, Limits
from keras_vae.export.proof.report import Check, Report

SIGNATURE, ROWS = "score_64", 64
# Examples that are scored, and by how much the AUROC may differ.
MOST, LARGEST = 512, 0.005
# The least rank correlation of both scores: an AUROC near 0.5 is kept by scores that are noise.
AGREEMENT = 0.99
# An anomaly has so large a share of its values from another example: the least by which float32 tells this well.
SHARES, TELLING = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5), 0.75


def mixed(x: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """The examples [N, ...], of whose values a share is that of other examples: each value alone is normal."""
    rng = np.random.default_rng(seed)
    others = np.roll(x, 1 + int(rng.integers(len(x) - 1)), axis=0)
    return np.where(rng.random(x.shape) < share, others, x)


def auroc(normal: np.ndarray, anomalous: np.ndarray) -> float:
    """The probability that a normal example scores higher; 0 where a score is not finite."""
    from sklearn.metrics import roc_auc_score

    values = -np.concatenate([normal, anomalous])
    if not np.isfinite(values).all():
        return 0.0
    return float(roc_auc_score(np.repeat([0, 1], [len(normal), len(anomalous)]), values))


def agreement(own: np.ndarray, expected: np.ndarray) -> float:
    """Spearman's rank correlation of two scores of the same examples; 0 where one is not finite."""
    from scipy.stats import rankdata

    if not (np.isfinite(own).all() and np.isfinite(expected).all()):
        return 0.0
    ranks = np.stack([rankdata(own), rankdata(expected)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(ranks, axis=1)
    # Scores that are all the same rank nothing: they agree with such alone.
    return float(ranks[0] @ ranks[1] / lengths.prod()) if lengths.all() else float(lengths[0] == lengths[1])


def check_ranks(
    report: Report, file: Path, score: Callable[[Arrays], np.ndarray], shown: Arrays, limits: Limits = GENEROUS
) -> None:
    """Compares the AUROC of a file's `score_64` with that of `score`, on normal examples and on made anomalies.

    Where those are hard to tell the AUROC says little. So both must also rank all of the examples alike.

    Args:
        report: gets a check, and both numbers among the errors of the signature.
        file: a `.tflite` file.
        score: what the scores are to be like, [N] of inputs by name.
        shown: inputs of normal examples, `x` [N, ...] and its condition; the last 512 are taken.
        limits: of the process that runs the file.
    """
    count = min(len(shown["x"]), MOST) // ROWS * ROWS
    good = {name: array[-count:] for name, array in shown.items()}
    name = f"tells anomalies as well: {SIGNATURE}"
    try:
        expected = score(good)
        for share in SHARES:
            bad = {**good, "x": mixed(good["x"], share).astype("float32")}
            of_bad = score(bad)
            known = auroc(expected, of_bad)
            if known >= TELLING:
                break
        found = [scores_of(file, given, limits) for given in (good, bad)]
    except FreshProcessError as error:
        report.checks.append(Check(name, False, str(error)))
        return
    own, alike = auroc(*found), agreement(np.concatenate(found), np.concatenate([expected, of_bad]))
    report.errors.setdefault(SIGNATURE, {}).update(
        {"AUROC": own, "AUROC, expected": known, "rank correlation of the scores": alike}
    )
    detail = f"AUROC {own:.4f}, expected {known:.4f} to within {LARGEST:g}: {count} examples, then {share:.0%} mixed"
    report.checks.append(Check(name, abs(own - known) <= LARGEST, detail))
    detail = f"rank correlation {alike:.4f} of the same examples' scores, at least {AGREEMENT:g}"
    report.checks.append(Check(f"ranks alike: {SIGNATURE}", alike >= AGREEMENT, detail))


def scores_of(file: Path, given: Arrays, limits: Limits = GENEROUS) -> np.ndarray:
    """What `score_64` of a `.tflite` file gives, [N] for a multiple of 64 rows, in a fresh process.

    Raises:
        FreshProcessError: it cannot be run, or refuses the inputs.
    """
    blocks = range(0, len(given["x"]), ROWS)
    calls = [Call(SIGNATURE, {name: array[i : i + ROWS] for name, array in given.items()}) for i in blocks]
    results = fresh.run(file, calls, limits).results
    wrong = [result.message for result in results if not result.ok]
    if wrong:
        raise FreshProcessError(wrong[0])
    return np.concatenate([result.outputs["score"] for result in results])
