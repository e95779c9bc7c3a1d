"""Everything that can be said in numbers about the samples of a model, JSON-ready, and the same as a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import rich.table

from keras_vae.arguments import check_count
from keras_vae.evaluation.sample_quality.coverage import precision_recall
from keras_vae.evaluation.sample_quality.distances import fid, kid
from keras_vae.evaluation.sample_quality.features import Features, name_of
from keras_vae.evaluation.statistics import gather, given, is_deterministic
from keras_vae.models.vae import VAE

# Examples of each kind, for three neighbours.
FEWEST = 8


def judge_samples(
    vae: VAE, test: Any, train: Any = None, num_samples: int = 2000, features: Features | None = None, seed: int = 0
) -> dict[str, Any]:
    """KID, FID, precision and recall of samples against test data, and of as many training data as a yardstick.

    The samples are means of p(x|z), as in `pictures.samples`, of black and white images draws; those of a conditional
    model have the conditions of the test data. A model that were perfect would come as near as the training data do,
    which stand beside it: precision and recall of two sets of one distribution are not 1, nor is their FID 0.

    Args:
        vae: the model.
        test: a finite data set; as many of its examples as there are samples are used.
        train: of which as many examples are compared with the test data too; None for no yardstick.
        num_samples: number of draws; of a conditional model at most as many as there are test data.
        features: as in `kid`.
        seed: of the draws.

    Returns:
        `features`, their name, and `num_features`; `num_real` and `num_drawn`; `samples` and `training_data` (or None),
        each with `kid`, `fid`, `precision` and `recall`, of which each has `value`, `standard_error` and `interval`,
        and `fid` its `bias` and `corrected` too.

    Raises:
        ValueError: for a plain autoencoder, which has no draws, and as `kid`.
    """
    if is_deterministic(vae):
        raise ValueError(
            "A plain autoencoder has no prior to draw from: its samples cannot be judged. evaluation.CodeDensity makes "
            "a density of its codes; give samples of it to evaluation.kid."
        )
    num_samples = check_count("num_samples", num_samples, at_least=FEWEST)
    real, y = gather(test, num_samples)
    condition = given(vae, y, test)
    count = num_samples if condition is None else len(real)
    drawn = vae.sample(count, seed, condition, noise=vae.decoder.likelihood.levels == 2)
    samples, num_features = _compare(real, np.clip(drawn, real.min(), real.max()), features)
    other = None if train is None else gather(train, len(real))[0]
    return {
        "features": name_of(features),
        "num_features": num_features,
        "num_real": len(real),
        "num_drawn": count,
        "samples": samples,
        "training_data": None if other is None or len(other) < FEWEST else _compare(real, other, features)[0],
    }


def quality_table(found: Mapping[str, Any]) -> rich.table.Table:
    """What `judge_samples` found as a table for people."""
    title = f"{found['num_drawn']:,} samples against {found['num_real']:,} test examples"
    table = rich.table.Table("", title=title)
    table.add_column("samples", justify="right")
    columns = [found["samples"]]
    if found["training_data"] is not None:
        table.add_column("training data", justify="right")
        columns.append(found["training_data"])
    for label, key, name, digits in (
        ("KID", "kid", "value", 4),
        ("FID", "fid", "value", 3),
        ("  less its bias", "fid", "corrected", 3),
        ("precision: samples among the data", "precision", "value", 3),
        ("recall: data among the samples", "recall", "value", 3),
    ):
        cells = [f"{part[key][name]:,.{digits}f} ± {part[key]['standard_error']:.{digits}f}" for part in columns]
        table.add_row(label, *cells)
    table.caption = (
        f"Features: {found['features']}, {found['num_features']} numbers. Values under other features, and published "
        "ones, do not compare."
    )
    return table


def _compare(real: np.ndarray, drawn: np.ndarray, features: Features | None) -> tuple[dict[str, Any], int]:
    near, far, covered = kid(real, drawn, features), fid(real, drawn, features), precision_recall(real, drawn, features)

    def said(value: float, error: float, interval: tuple[float, float]) -> dict[str, Any]:
        return {"value": value, "standard_error": error, "interval": list(interval)}

    numbers = {
        "kid": said(near.value, near.standard_error, near.interval),
        "fid": {**said(far.value, far.standard_error, far.interval), "bias": far.bias, "corrected": far.corrected},
        "precision": said(covered.precision, covered.precision_error, covered.interval[0]),
        "recall": said(covered.recall, covered.recall_error, covered.interval[1]),
    }
    return numbers, near.num_features
