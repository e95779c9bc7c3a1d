"""Two replicas in one process, and two workers in two processes."""

import json
import os
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest

MODEL = """
import sys
import keras, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], {devices})
import keras_vae as kv
from keras_vae import conditions, likelihoods, networks, posteriors, priors

def make_vae(condition=None):
    keras.utils.set_random_seed(0)
    return kv.VAE(
        kv.Encoder(networks.mlp([16]), posteriors.MultivariateNormalDiag(2), condition),
        kv.Decoder(networks.mlp([16]), likelihoods.Bernoulli((4, 4, 1)), condition),
        priors.StandardNormal(2),
        seed=1,
    )

x = (np.random.default_rng(0).random((64, 4, 4, 1)) < 0.2).astype("float32")
"""


def run(program, devices="[tf.config.LogicalDeviceConfiguration()]", **variables):
    source = MODEL.replace("{devices}", devices) + textwrap.dedent(program)
    return subprocess.Popen(
        [sys.executable, "-c", source],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process, seconds=240):
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.strip().splitlines()[-1])


def test_two_replicas_draw_different_noise_and_stay_equal():
    program = """
        import json
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        with strategy.scope():
            vae = make_vae()
            vae.compile(keras.optimizers.Adam(1e-2))
        history = vae.fit(x, epochs=10, batch_size=16, verbose=0).history
        same = np.repeat(x[:1], 2, axis=0)  # one copy of the same image for each replica
        def infer(batch):
            from keras_vae import seeds
            return vae._objective(batch, None, seeds.as_pair(3), training=False)[0].groups[0].z
        batches = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices(same).batch(2))
        z = strategy.experimental_local_results(strategy.run(infer, args=(next(iter(batches)),)))
        print(json.dumps({
            "elbo": history["elbo"], "steps": int(tf.convert_to_tensor(vae.step)),
            "z": [np.asarray(v).tolist() for v in z],
            "evaluate": vae.evaluate(x, return_dict=True, verbose=0),
        }))
    """
    two = output(run(program, "[tf.config.LogicalDeviceConfiguration()] * 2"))
    assert two["steps"] == 40
    assert two["elbo"][-1] > two["elbo"][0]
    assert np.abs(np.subtract(*two["z"])).max() > 1e-3
    assert np.isfinite(list(two["evaluate"].values())).all()


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.mark.parametrize("data", ["the same data", "a shard each"])
def test_two_workers_adapt_alike_and_end_with_the_same_weights(data):
    program = """
        import json, os
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        with strategy.scope():
            # Shards carry labels, and the model is conditioned on them.
            vae = make_vae(conditions.Label(3) if WHICH == "a shard each" else None)
            vae.compile(keras.optimizers.Adam(0.0))
        index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
        mine = x if WHICH == "the same data" else x[index::2]
        batch = mine if vae.condition is None else (mine, np.arange(len(mine)) % 3)
        dataset = tf.data.Dataset.from_tensor_slices(batch).batch(16)
        options = tf.data.Options()
        policy = tf.data.experimental.AutoShardPolicy
        options.experimental_distribute.auto_shard_policy = policy.DATA if WHICH == "the same data" else policy.OFF
        dataset = dataset.with_options(options)
        vae.fit(dataset, epochs=1, verbose=0)
        adapted = vae.decoder.output_layer.bias.numpy()
        vae.optimizer.learning_rate = 1e-2
        history = vae.fit(dataset, epochs=10, verbose=0).history
        evaluated = vae.evaluate(dataset, return_dict=True, verbose=0)
        print(json.dumps({
            "adapted": adapted.tolist(), "history": history, "evaluated": evaluated,
            "sum": [float(np.abs(w).sum()) for w in vae.get_weights()],
        }))
    """.replace("WHICH", repr(data))
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    workers = [
        run(program, TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}))
        for index in range(2)
    ]
    first, second = (output(worker) for worker in workers)
    assert first == second
    x = (np.random.default_rng(0).random((64, 4, 4, 1)) < 0.2).astype("float32")
    seen = x if data == "the same data" else x[::2]  # the chief's
    mean = np.clip(seen.mean(axis=0), 1e-3, 1 - 1e-3).reshape(-1)
    np.testing.assert_allclose(1 / (1 + np.exp(-np.array(first["adapted"]))), mean, rtol=1e-4)
    assert first["history"]["elbo"][-1] > first["history"]["elbo"][0]
