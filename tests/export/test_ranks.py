"""Scores of a file that have the AUROC of the right ones, and are not those."""

import numpy as np
import pytest
import tensorflow as tf

from keras_vae.export.proof.on_examples import ranks
from keras_vae.export.proof.report import Report

COUNT, SIZE = 512, 4
WEIGHTS = np.arange(1, SIZE + 1, dtype="float32")


def linear(given):
    """Of values that are independent of each other, a sum tells no mixture of examples from an example."""
    return given["x"] @ WEIGHTS


@pytest.fixture(scope="module")
def shown():
    """Examples of which made anomalies are told with an AUROC of nearly 0.5, by this sum and by minus it."""
    for seed in range(1000):
        x = np.random.default_rng(seed).standard_normal((COUNT, SIZE)).astype("float32")
        by_share = [
            ranks.auroc(x @ WEIGHTS, ranks.mixed(x, share).astype("float32") @ WEIGHTS) for share in ranks.SHARES
        ]
        if abs(by_share[-1] - 0.5) < 0.4 * ranks.LARGEST and max(by_share) < ranks.TELLING:
            return {"x": x}
    raise AssertionError("no such examples")


def file_of(path, sign):
    """A .tflite file whose scores are the sum, or minus it."""

    def score(x):
        return {"score": sign * tf.reduce_sum(x * WEIGHTS, axis=1)}

    module = tf.Module()
    module.score = tf.function(score, input_signature=[tf.TensorSpec([ranks.ROWS, SIZE], tf.float32, "x")])
    tf.saved_model.save(module, str(path / "model"), signatures={ranks.SIGNATURE: module.score})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(path / "model"), signature_keys=[ranks.SIGNATURE])
    (path / "score.tflite").write_bytes(converter.convert())
    return path / "score.tflite"


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_auroc_near_a_half_is_not_enough(shown, tmp_path, sign):
    file = file_of(tmp_path, sign)
    report = Report(file, "tflite")
    ranks.check_ranks(report, file, linear, shown)
    tells, alike = report.checks
    assert tells.name.startswith("tells anomalies") and tells.passed, tells.detail
    assert alike.name.startswith("ranks alike") and alike.passed == (sign > 0), alike.detail
    found = report.errors[ranks.SIGNATURE]
    assert abs(found["AUROC"] - 0.5) < ranks.LARGEST
    assert found["rank correlation of the scores"] == pytest.approx(sign, abs=1e-6)


def test_agreement_is_of_ranks():
    scores = np.random.default_rng(0).standard_normal(1000)
    noise = np.random.default_rng(1).standard_normal(1000)
    assert ranks.agreement(np.exp(scores), scores) == pytest.approx(1.0)
    assert ranks.agreement(-scores, scores) == pytest.approx(-1.0)
    assert abs(ranks.agreement(noise, scores)) < 0.1
    assert ranks.AGREEMENT > ranks.agreement(scores + 0.2 * noise, scores) > 0.95
    assert ranks.agreement(np.full(1000, np.nan), scores) == 0.0
    assert ranks.agreement(np.zeros(1000), scores) == 0.0 and ranks.agreement(np.zeros(9), np.ones(9)) == 1.0
