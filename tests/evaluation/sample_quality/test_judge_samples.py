import io
import json

import numpy as np
import pytest
import rich.console
from small_models import compiled

from keras_vae import evaluation, networks


def features():
    made = networks.FeatureNetwork([4, 4])
    made.build((None, 8, 8, 1))
    return made


def test_samples_are_judged_beside_training_data(digits):
    vae, network = compiled(), features()
    found = evaluation.judge_samples(vae, digits[:100], digits[100:300], num_samples=120, features=network, seed=3)
    json.dumps(found)
    drawn = np.clip(vae.sample(120, seed=3, noise=True), digits.min(), digits.max())
    near, far = evaluation.kid(digits[:100], drawn, network), evaluation.fid(digits[:100], drawn, network)
    assert found["samples"]["kid"]["value"] == pytest.approx(near.value)
    assert found["samples"]["kid"]["standard_error"] == pytest.approx(near.standard_error)
    assert found["samples"]["fid"]["corrected"] == pytest.approx(far.corrected)
    assert (found["num_real"], found["num_drawn"], found["num_features"]) == (100, 120, 8)
    assert found["features"] == network.name
    # What nobody has trained draws worse than the data are.
    assert found["training_data"]["fid"]["corrected"] < 0.2 * far.corrected
    assert found["training_data"]["recall"]["value"] > found["samples"]["recall"]["value"]
    console = rich.console.Console(width=120, record=True, file=io.StringIO())
    console.print(evaluation.quality_table(found))
    said = console.export_text()
    assert "120 samples against 100 test examples" in said and f"{far.value:.3f} ±" in said and network.name in said
