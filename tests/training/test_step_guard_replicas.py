"""Replicas agree on the steps that are skipped: two in one process."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json
import keras, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors, priors

x = (np.random.default_rng(0).random((64, 4, 4, 1)) < 0.2).astype("float32")
x[16:32] = 1 - x[16:32]  # steps of different size
x[60] = np.nan  # in the share of the second replica

def train(strategy, optimizer, threshold=None):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        # Without noise, two replicas of 8 examples are one of 16.
        vae = kv.VAE(
            kv.Encoder(networks.mlp([8]), posteriors.Deterministic(2)),
            kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((4, 4, 1))),
            priors.StandardNormal(2), objectives.Reconstruction(), seed=1, gradient_skip_norm=threshold,
        )
        vae.compile(optimizer())
        vae.build()
    vae.adapt(x[:60])
    data = tf.data.Dataset.from_tensor_slices(x).batch(16)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    history = vae.fit(data.with_options(options), epochs=2, verbose=0).history
    copies = [strategy.experimental_local_results(v.value) for v in vae.trainable_variables]
    return {
        "skipped": history["skipped_steps"], "finite": bool(np.isfinite(history["loss"]).all()),
        "iterations": int(keras.ops.convert_to_numpy(vae.optimizer.iterations)),
        "equal": all(np.array_equal(a, b) for values in copies for a, b in [(values[0], values[-1])]),
        "weights": [np.asarray(values[0]).ravel().tolist() for values in copies],
    }

one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
sgd = lambda: keras.optimizers.SGD(0.05)
scaled = lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05), initial_scale=2.0**7)
found = {}
clipped = lambda: keras.optimizers.SGD(0.05, global_clipnorm=0.5)
cases = ("plain", sgd, None), ("threshold", sgd, 1.5), ("scaled", scaled, None), ("clipped", clipped, None)
for name, optimizer, threshold in cases:
    found[name] = [train(strategy, optimizer, threshold) for strategy in (one, two)]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_two_replicas_skip_what_one_would():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.strip().splitlines()[-1])
    for name, (one, two) in found.items():
        assert one["skipped"] == two["skipped"], name
        assert one["iterations"] == two["iterations"]
        assert one["finite"] and two["finite"] and two["equal"]
        for a, b in zip(one["weights"], two["weights"], strict=True):
            assert max(abs(u - v) for u, v in zip(a, b, strict=True)) < 1e-5, name
    assert found["plain"][0]["skipped"] == found["scaled"][0]["skipped"] == [1, 1]
    assert 1 < found["threshold"][0]["skipped"][0] < 4
