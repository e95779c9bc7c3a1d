"""Two replicas in one process, and two workers in two processes."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from processes import free_ports

pytestmark = pytest.mark.slow

MODEL = """
import json, os, sys
import keras, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], {devices})
import keras_vae as kv
from keras_vae import conditions, likelihoods, networks, objectives, posteriors, priors, seeds
from keras_vae.data.arrays import Arrays

def make_vae(posterior=posteriors.MultivariateNormalDiag, objective=None, condition=None, **options):
    keras.utils.set_random_seed(0)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([16]), posterior(2), condition),
        kv.Decoder(networks.mlp([16]), likelihoods.Bernoulli((4, 4, 1)), condition),
        priors.StandardNormal(2),
        objective,
        seed=1,
    )
    vae.build()
    vae.compile(keras.optimizers.Adam(1e-2, **options))
    return vae

def without_noise(**options):
    return make_vae(posteriors.Deterministic, objectives.Reconstruction(), **options)

def train_without_noise(vae, x):
    # 37 examples: batches of 12 leave one for all replicas.
    arrays, validation = Arrays(x[:37]), Arrays(x[:25])
    stream = arrays.stream(12, seed=0)
    history = vae.fit(
        stream, steps_per_epoch=4, epochs=3, validation_data=validation.dataset(8), verbose=0
    ).history
    vae.fit(x[:37], batch_size=18, epochs=2, shuffle=False, sample_weight=np.linspace(0, 1, 37), verbose=0)
    many = (np.random.default_rng(1).random((256, 4, 4, 1)) < 0.2).astype("float32")
    vae.fit(many, batch_size=128, epochs=2, shuffle=False, verbose=0)
    evaluated = [vae.evaluate(data, return_dict=True, verbose=0) for data in (arrays.dataset(9), arrays.dataset(37))]
    evaluated.append(vae.evaluate(x[:37], batch_size=9, return_dict=True, verbose=0))
    return {
        "weights": [w.tolist() for w in vae.get_weights()],
        "history": {name: [float(v) for v in values] for name, values in history.items()},
        "evaluated": evaluated,
        "step": int(vae.step.numpy()),
    }

def noise(strategy, vae):
    # One copy of the same image for each replica.
    def infer():
        condition = None if vae.condition is None else tf.zeros([1], tf.int32)
        terms, _, _ = vae.compute_objective(tf.ones([1, 4, 4, 1]), condition, None, seeds.as_pair(3), False)
        return terms.groups[0].z

    local = strategy.run(infer)
    return [np.asarray(z).tolist() for z in strategy.experimental_local_results(local)]

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


def output(process, seconds=600):
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def one_device():
    """What the models without noise become on one device, with and without clipped gradients."""
    names: dict = {}
    exec(MODEL.replace("tf.config.set_logical_device_configuration", "# "), names)
    return {
        kind: names["train_without_noise"](names["without_noise"](**options), names["x"])
        for kind, options in (("plain", {}), ("clipped", {"global_clipnorm": 0.5}))
    }


def assert_same(found, expected):
    assert found["step"] == expected["step"] == 4 * 3 + 3 * 2 + 2 * 2
    for a, b in zip(found["weights"], expected["weights"], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for name, values in expected["history"].items():
        np.testing.assert_allclose(found["history"][name], values, rtol=1e-5)
    for a, b in zip(found["evaluated"], expected["evaluated"], strict=True):
        assert a == pytest.approx(b, rel=1e-5)


def test_two_replicas_are_one_device_with_the_same_batch(one_device):
    program = """
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        with strategy.scope():
            models = {"plain": without_noise(), "clipped": without_noise(global_clipnorm=0.5)}
            vae = make_vae()
        found = {kind: train_without_noise(model, x) for kind, model in models.items()}
        history = vae.fit(x, epochs=10, batch_size=16, verbose=0).history
        print(json.dumps({
            **found, "elbo": history["elbo"], "step": int(vae.step.numpy()), "z": noise(strategy, vae),
            "evaluate": vae.evaluate(x, return_dict=True, verbose=0),
            "changed": ["_all_reduce_sum_gradients" in vars(m.optimizer) for m in (vae, *models.values())],
        }))
    """
    two = output(run(program, "[tf.config.LogicalDeviceConfiguration()] * 2"))
    for kind in one_device:
        assert_same(two[kind], one_device[kind])
    assert two["step"] == 40 and two["changed"] == [False] * 3
    assert two["elbo"][-1] > two["elbo"][0]
    assert np.abs(np.subtract(*two["z"])).max() > 1e-3
    assert np.isfinite(list(two["evaluate"].values())).all()


LEVELS = """
from keras_vae import flows

def levels():
    # Points, but for 1e-5: each replica draws its own noise.
    keras.utils.set_random_seed(0)
    flow = flows.Flow(posteriors.MultivariateNormalDiag(2), num_layers=1, units=(4,), context_size=2)
    vae = kv.VAE(
        kv.LadderEncoder(networks.mlp([8, 6]), posteriors.Deterministic(2)),
        kv.LadderDecoder(networks.mlp([6, 8]), likelihoods.Bernoulli((4, 4, 1)), 2, posterior=flow),
        priors.StandardNormal(2),
        objectives.Reconstruction(),
        seed=1,
    )
    vae.build()
    vae.decoder.levels[0].part.projection.bias.assign([0.0, 0.0, -60.0, -60.0, 0.0, 0.0])
    vae.compile(keras.optimizers.SGD(1e-2))
    return vae
"""


def test_two_replicas_train_the_posteriors_of_levels_as_one_does():
    one = output(run(LEVELS + "print(json.dumps(train_without_noise(levels(), x)))"))
    program = """
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    vae = levels()
print(json.dumps(train_without_noise(vae, x)))
"""
    two = output(run(LEVELS + program, "[tf.config.LogicalDeviceConfiguration()] * 2"))
    assert two["step"] == one["step"] == 4 * 3 + 3 * 2 + 2 * 2
    for a, b in zip(two["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)
    # The flow has learned.
    assert one["evaluated"][1]["loss"] < one["history"]["loss"][0]


TABLE = """
def table():
    keras.utils.set_random_seed(0)
    schema = {"height": "real", "income": "positive", "visits": "count", "colour": {"category": ["a", "b", "c"]}}
    vae = kv.VAE(
        kv.Encoder(networks.mlp([8]), posteriors.Deterministic(2)),
        kv.Decoder(networks.mlp([8]), likelihoods.Mixed(schema)),
        priors.StandardNormal(2),
        objectives.Reconstruction(),
        missing=True,
        seed=1,
    )
    vae.build()
    vae.compile(keras.optimizers.SGD(1e-2))
    return vae

def trained(vae):
    rng = np.random.default_rng(0)
    rows = [rng.normal(170, 10, 37), np.exp(rng.normal(7, 1, 37)), rng.poisson(9, 37), rng.integers(0, 3, 37)]
    rows = np.stack(rows, axis=1).astype("float32")
    rows[rng.random(rows.shape) < 0.2] = np.nan
    history = vae.fit(Arrays(rows).stream(12, seed=0), steps_per_epoch=4, epochs=5, verbose=0).history
    return {
        "weights": [w.tolist() for w in vae.get_weights()], "loss": history["loss"],
        "found": vae.evaluate(rows, batch_size=9, return_dict=True, verbose=0),
    }
"""


def test_two_replicas_train_a_table_with_gaps_as_one_does():
    one = output(run(TABLE + "print(json.dumps(trained(table())))"))
    program = """
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    vae = table()
print(json.dumps(trained(vae)))
"""
    two = output(run(TABLE + program, "[tf.config.LogicalDeviceConfiguration()] * 2"))
    for a, b in zip(two["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=1e-4)
    assert two["found"]["loss"] == pytest.approx(one["found"]["loss"], rel=1e-4)
    assert one["loss"][-1] < one["loss"][0]


CODES = """
def codes(posterior):
    keras.utils.set_random_seed(0)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([8]), posterior),
        kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((4, 4, 1))),
        priors.AutoregressiveCodes.of(posterior, units=8, num_layers=1, num_heads=1),
        objectives.CommittedELBO(),
        seed=1,
    )
    vae.build()
    vae.compile(keras.optimizers.SGD(1e-3))
    return vae

def trained(vae):
    history = vae.fit(Arrays(x).stream(16, seed=0), steps_per_epoch=4, epochs=3, verbose=0).history
    found = vae.evaluate(x, batch_size=16, return_dict=True, verbose=0)
    counts = np.asarray(next(m for m in vae.metrics if m.name == "usage").counts)
    return {
        "weights": [w.tolist() for w in vae.get_weights()], "history": history, "found": found,
        "counts": counts.tolist(),
    }

levels = lambda: codes(posteriors.FiniteScalar([3, 4], (1, 2)))
table = lambda: codes(posteriors.Residual(
    posteriors.VectorQuantized(4, (1, 2), 4, learned_by="gradient", start="kmeans", through="rotation"), 2
))
averages = lambda: codes(posteriors.Grouped(posteriors.VectorQuantized(4, (1, 2), 4), 2))
"""


def test_two_replicas_count_and_move_codes_as_one_does():
    made = "{'levels': levels(), 'table': table(), 'averages': averages()}"
    dump = "print(json.dumps({name: trained(vae) for name, vae in models.items()}))"
    one = output(run(CODES + f"models = {made}\n{dump}"))
    program = f"""
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    models = {made}
{dump}
"""
    two = output(run(CODES + program, "[tf.config.LogicalDeviceConfiguration()] * 2"))
    # Levels and what makes features white: the same.
    for a, b in zip(two["levels"]["weights"], one["levels"]["weights"], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    for name, depth in (("levels", 1), ("table", 2), ("averages", 2)):
        counts = np.array(two[name]["counts"])
        assert counts.sum(axis=1).tolist() == [64 * 2] * depth
        assert two[name]["found"]["usage"] == pytest.approx(np.mean(counts > 0))
        assert np.isfinite(two[name]["history"]["loss"]).all()
        # A table starts at features of one replica, and then is learned from those of both.
        assert two[name]["found"]["loss"] == pytest.approx(one[name]["found"]["loss"], rel=0.2)


@pytest.mark.slow
def test_a_second_mirrored_strategy_over_other_devices_is_refused():
    program = """
        for devices in (2, 1, 2, 3):
            strategy = tf.distribute.MirroredStrategy([f"CPU:{k}" for k in range(devices)])
            with strategy.scope():
                vae = make_vae()
            for method in (vae.fit, vae.evaluate):
                try:
                    method(x, verbose=0)
                except RuntimeError as error:
                    assert devices == 3 and "takes no second one over others (now 3): use the first" in str(error)
                else:
                    assert devices < 3
        print(json.dumps({}))
    """
    assert output(run(program, "[tf.config.LogicalDeviceConfiguration()] * 3")) == {}


def workers(program, **variables):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    configs = [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in range(2)]
    return [run(program, TF_CONFIG=config, **variables) for config in configs]


def test_two_workers_are_one_device_with_the_same_batch(one_device):
    program = """
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
        with strategy.scope():
            plain = without_noise()
            vae = make_vae(condition=conditions.Label(3))
        found = train_without_noise(plain, x)

        # Noise, labels, and a shard of its own for each worker: only the chief's adapts the model.
        vae.optimizer.learning_rate = 0.0
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        shard = (x[index::2], np.arange(32) % 3)
        dataset = tf.data.Dataset.from_tensor_slices(shard).batch(16).with_options(options)
        vae.fit(dataset, epochs=1, verbose=0)
        adapted = vae.decoder.output_layer.bias.numpy()
        vae.optimizer.learning_rate = 1e-2
        history = vae.fit(dataset, epochs=10, verbose=0).history
        evaluated = vae.evaluate(dataset, return_dict=True, verbose=0)
        print(json.dumps({
            "z": noise(strategy, vae),
            "alike": {
                "without noise": found, "adapted": adapted.tolist(), "evaluated": evaluated,
                "history": {name: [float(v) for v in values] for name, values in history.items()},
                "sum": [float(np.abs(w).sum()) for w in vae.get_weights()],
            },
        }))
    """
    first, second = (output(worker) for worker in workers(program))
    assert first["alike"] == second["alike"]
    assert_same(first["alike"]["without noise"], one_device["plain"])
    assert np.abs(np.subtract(first["z"], second["z"])).max() > 1e-3
    found, x = first["alike"], (np.random.default_rng(0).random((64, 4, 4, 1)) < 0.2).astype("float32")
    mean = np.clip(x[::2].mean(axis=0), 1e-3, 1 - 1e-3).reshape(-1)  # the chief's
    np.testing.assert_allclose(1 / (1 + np.exp(-np.array(found["adapted"]))), mean, rtol=1e-4)
    assert found["history"]["elbo"][-1] > found["history"]["elbo"][0]
