"""Inference as users meet it: any number of examples, from any thread, and nothing that the model cannot take."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import parts
import pytest
import tensorflow as tf
from small_models import make_vae

import keras_vae as kv
from keras_vae import evaluation, likelihoods, objectives, priors
from keras_vae.conditions import Label
from keras_vae.models import inference

SHAPE = parts.SHAPE
ROWS = 16  # of a block in these tests


def images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, *SHAPE)).astype("float32")


def model(kind):
    posterior, prior, condition, network, options = "diag", "standard_normal", None, "mlp", {}
    if kind == "flow":
        posterior, prior = "iaf", "real_nvp"
    if kind == "mixture":
        prior = "mixture"
    if kind == "codes":
        posterior, prior, options = "quantized", "codes", {"objective": objectives.CommittedELBO(0.25)}
    if kind == "ladder":
        network = "ladder_mlp"
    if kind == "conditional":
        condition = Label(4)
    if kind == "cascade":
        options = {"num_classes": 3}
    make = kv.CascadeVAE if kind == "cascade" else kv.VAE
    return make(
        parts.encoder(network, [8, 6], parts.POSTERIORS[posterior](), condition),
        parts.decoder(network, [6, 8], likelihoods.Bernoulli(SHAPE), condition),
        priors.ConditionalNormal(parts.L, condition) if condition else parts.PRIORS[prior](),
        seed=1,
        **options,
    )


def given(vae, n):
    return None if vae.condition is None else np.arange(n) % 4


def q_point(vae):
    return (lambda q: q.mean()) if type(vae) is kv.CascadeVAE else vae.encoder.posterior.point


KINDS = ["plain", "ladder", "codes", "conditional", "flow", "mixture", "cascade"]
# All are tried; of every day are those in which something else is shared.
OF_EVERY_DAY = [kind if n < 2 else pytest.param(kind, marks=pytest.mark.slow) for n, kind in enumerate(KINDS)]
METHODS = {
    "call": lambda vae, x: vae(x),
    "encode": lambda vae, x: vae.encode(x),
    "reconstruct": lambda vae, x: vae.reconstruct(x),
    "predict": lambda vae, x: vae.predict(x, verbose=0),
    "log_prob": lambda vae, x: vae.log_prob(x, num_samples=2),
    "features": lambda vae, x: vae.encoder.features_model()(x),
    "log_likelihood": lambda vae, x: evaluation.log_likelihood(vae, x, 2, verbose=False),
    "evaluate": lambda vae, x: evaluation.evaluate(vae, x, num_samples=2, verbose=False),
    "diagnose": lambda vae, x: evaluation.diagnose(vae, x),
    "probe": lambda vae, x: evaluation.linear_probe(vae, (x, np.arange(len(x)) % 2), (x, np.arange(len(x)) % 2)),
    "density": lambda vae, x: evaluation.CodeDensity(vae, x, num_components=2),
    "annealing": lambda vae, x: evaluation.annealed_importance_sampling(vae, x, 300, 2, 2),
}


def late(value):
    x = images(300)
    x[299, 0, 0, 0] = value
    return x


WRONG = {
    "0 to 255": lambda: images(300) * 255,
    "NaN in a late row": lambda: late(np.nan),
    "300 in a late row": lambda: late(300.0),
    "swapped sides": lambda: np.swapaxes(images(300), 1, 2),
    "uint8": lambda: (images(300) * 255).astype("uint8"),
}


@pytest.mark.parametrize("method", METHODS)
def test_what_fit_refuses_no_method_takes(method):
    vae = make_vae(event_shape=SHAPE)
    vae.build()
    for name, make in WRONG.items():
        with pytest.raises(ValueError, match=r"The data|the values|Bernoulli|shape"):
            pytest.fail(f"{name} passed: {METHODS[method](vae, make())}")


def test_in_a_graph_shapes_and_types_are_looked_at():
    vae = make_vae(event_shape=SHAPE)
    for x, message in ((images(2)[:, :, :3], "shape"), (images(2).astype("uint8"), "dtype uint8")):
        for method in (lambda x: vae.encode(x).mean(), vae, lambda x: vae.infer(x).log_likelihood):
            with pytest.raises(ValueError, match=message):
                tf.function(method, autograph=False)(tf.constant(x))
    with pytest.raises(ValueError, match=r"z must have shape \[..., 4\]"):
        tf.function(lambda z: vae.decode(z).mean(), autograph=False)(tf.zeros([2, 3]))


@pytest.mark.parametrize("kind", OF_EVERY_DAY)
def test_datasets_are_taken_where_arrays_are(kind):
    vae, x = model(kind), images(50)
    c = given(vae, 50)
    data = tf.data.Dataset.from_tensor_slices(x if c is None else (x, c)).batch(20)
    whole = vae.reconstruct(x, condition=c)
    point = q_point(vae)
    np.testing.assert_allclose(vae.reconstruct(data), whole, atol=1e-6)
    np.testing.assert_allclose(vae.predict(data, verbose=0), whole, atol=1e-6)
    np.testing.assert_allclose(point(vae.encode(data)), point(vae.encode(x, c)), atol=1e-6)
    assert vae.log_prob(data, num_samples=2).shape == (50,)
    pair = x if c is None else {"image": x, "condition": c}
    np.testing.assert_allclose(vae.reconstruct(pair), whole, atol=1e-6)
    np.testing.assert_allclose(vae.predict(pair, verbose=0), whole, atol=1e-6)
    with pytest.raises(ValueError, match="never end"):
        vae.encode(data.repeat())
    assert vae.predict(data.repeat(), steps=2, verbose=0).shape == (40, *SHAPE)
    assert vae.reconstruct(data.take(0)).shape == (0, *SHAPE)


@pytest.mark.parametrize("method", ["encode", "reconstruct", "predict", "log_prob"])
@pytest.mark.parametrize("form", ["dataset", "generator"])
def test_a_wrong_batch_of_a_dataset_is_named(method, form):
    vae = make_vae(event_shape=SHAPE)
    x = np.concatenate([images(48), images(16) * 0.5])
    batches = [x[start : start + 16] for start in range(0, 64, 16)]
    data = tf.data.Dataset.from_tensor_slices(x).batch(16) if form == "dataset" else (batch for batch in batches)
    with pytest.raises(ValueError, match=r"Batch 3 of the data: .*Bernoulli"):
        METHODS[method](vae, data)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_give_what_the_whole_gives(kind, monkeypatch):
    vae, n = model(kind), 5 * ROWS + 3
    x, c = images(n), given(model(kind), n)
    point = q_point(vae)
    assert inference.rows_at_once(vae) > n
    whole = [vae.sample(n, 3, c), vae.reconstruct(x, c), point(vae.encode(x, c)), vae.sample(ROWS, 3, given(vae, ROWS))]
    monkeypatch.setattr(inference, "MOST_ROWS", ROWS)
    # Of pixels that do not depend on it much, a wrong draw of z would hardly be seen.
    np.testing.assert_allclose(vae.sample(n, 3, c), whole[0], atol=1e-6)
    np.testing.assert_allclose(vae.generate(n, 3, c).likelihood.mean(), whole[0], atol=1e-6)
    np.testing.assert_allclose(vae.reconstruct(x, c), whole[1], atol=1e-6)
    np.testing.assert_allclose(point(vae.encode(x, c)), whole[2], atol=1e-6)
    np.testing.assert_array_equal(vae.sample(ROWS, 3, given(vae, ROWS)), whole[3])
    assert vae.log_prob(x, num_samples=2, condition=c).shape == (n,)
    if kind in ("plain", "ladder", "conditional"):
        cooled = vae.sample(n, 3, c, temperature=0.5)
        np.testing.assert_allclose(cooled, vae.generate(n, 3, c, 0.5).likelihood.mean(), atol=1e-6)


def test_log_prob_in_blocks_estimates_the_same(monkeypatch):
    vae, x = model("plain"), images(3 * ROWS + 1)
    whole = vae.log_prob(x, num_samples=3000)
    monkeypatch.setattr(inference, "MOST_ROWS", ROWS)
    blocks = vae.log_prob(x, num_samples=3000)
    np.testing.assert_array_equal(blocks, vae.log_prob(x, num_samples=3000))
    np.testing.assert_allclose(blocks, whole, atol=0.2)
    assert not np.array_equal(blocks, whole)  # the blocks after the first have seeds of their own


def test_draws_of_a_prior_that_needs_much_memory_come_in_blocks(monkeypatch):
    vae = model("mixture")
    z = np.asarray(vae.generate(4000, seed=0).z)
    monkeypatch.setattr(inference, "DRAW_VALUES", vae.prior.draw_size * 1000)
    blocks = np.asarray(vae.generate(4000, seed=0).z)
    np.testing.assert_array_equal(blocks[:1000], np.asarray(vae.generate(1000, seed=0).z))
    np.testing.assert_allclose(blocks.mean(0), z.mean(0), atol=0.1)
    np.testing.assert_allclose(blocks.std(0), z.std(0), atol=0.1)
    assert len(np.unique(blocks, axis=0)) == 4000


def test_no_number_of_samples_makes_tensorflow_trace_again(monkeypatch):
    vae = model("plain")
    monkeypatch.setattr(inference, "MOST_ROWS", ROWS)
    for n in (17, 40, 41, 90, 33):
        assert vae.sample(n, seed=0).shape == (n, *SHAPE)
        assert vae.reconstruct(images(n)).shape == (n, *SHAPE)
    for name in ("sample", "reconstruct"):
        assert vae.compiled_methods.get(vae, name, None).experimental_get_tracing_count() <= 2


def test_compiled_methods_see_new_weights(monkeypatch):
    vae = model("plain")
    monkeypatch.setattr(inference, "MOST_ROWS", ROWS)
    before = vae.sample(40, seed=0)
    vae.set_weights([w + 0.3 if w.dtype.kind == "f" else w for w in vae.get_weights()])
    after = vae.sample(40, seed=0)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(after, vae.generate(40, 0).likelihood.mean(), atol=1e-6)


@pytest.mark.parametrize("kind", OF_EVERY_DAY)
def test_the_same_question_again_and_again_has_the_same_answer_and_is_compiled(kind, monkeypatch):
    made, function = [], tf.function
    monkeypatch.setattr(tf, "function", lambda f, **options: made.append(f) or function(f, **options))
    vae, x = model(kind), images(3)
    c = given(vae, 3)
    asked = [(vae.sample(3, seed=1, condition=c), vae.reconstruct(x, c)) for _ in range(6)]
    for drawn, means in asked[1:]:
        np.testing.assert_allclose(drawn, asked[0][0], atol=1e-6)
        np.testing.assert_allclose(means, asked[0][1], atol=1e-6)
    assert len(made) == 2
    others = vae.sample(3, seed=2, condition=c)
    # Codes are all zero before the first step of training.
    assert kind in ("codes", "cascade") or not np.allclose(others, asked[0][0], atol=1e-4)
    # With other weights it is not the answer of before.
    vae.set_weights([w + 0.3 if w.dtype.kind == "f" else w for w in vae.get_weights()])
    np.testing.assert_allclose(vae.sample(3, seed=1, condition=c), vae.generate(3, 1, c).likelihood.mean(), atol=1e-6)
    assert np.abs(vae.reconstruct(x, c) - asked[0][1]).max() > 1e-3


def test_functions_of_many_sizes_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(inference, "MOST_KEPT", 2)
    vae = model("plain")
    for n in (1, 2, 3, 4):
        found = [vae.sample(n, seed=0) for _ in range(3)]
        np.testing.assert_allclose(found[0], found[2], atol=1e-6)
    assert len(vae.compiled_methods) == 2
    for temperature in np.linspace(0.1, 1.0, 9):
        vae.sample(1, seed=0, temperature=temperature)
    assert len(vae.compiled_methods) == 2 and len(vae.compiled_methods._asked) <= 4


def test_samples_with_the_noise_of_the_decoder(monkeypatch):
    vae = make_vae(event_shape=(4, 4, 1), likelihood=likelihoods.Normal((4, 4, 1), scale=0.5))
    monkeypatch.setattr(inference, "MOST_ROWS", 500)
    for n in (400, 1800):
        means, drawn = vae.sample(n, seed=1), vae.sample(n, seed=1, noise=True)
        np.testing.assert_array_equal(drawn, vae.sample(n, seed=1, noise=True))
        noise = (drawn - means) / 0.5
        # Independent standard normals, also between blocks.
        assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
        assert noise.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * noise.size))
        assert len(np.unique(noise.round(5))) > 0.5 * noise.size
    binary = make_vae(event_shape=SHAPE).sample(20, seed=0, noise=True)
    assert set(np.unique(binary)) == {0.0, 1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_gives_nothing(kind):
    vae, x = model(kind), images(0)
    c = given(vae, 0)
    assert vae.sample(0, condition=c).shape == vae.reconstruct(x, c).shape == (0, *SHAPE)
    assert vae.predict(x if c is None else {"image": x, "condition": c}, verbose=0).shape == (0, *SHAPE)
    assert tuple(vae.encode(x, c).batch_shape) == (0,)
    assert tuple(vae.decode(np.zeros((0, vae.prior.latent_dim)), c).batch_shape) == (0,)
    assert vae.log_prob(x, condition=c).shape == (0,)


@pytest.mark.parametrize("kind", OF_EVERY_DAY)
def test_many_threads_get_what_one_gets(kind, monkeypatch):
    monkeypatch.setattr(inference, "MOST_ROWS", ROWS)
    vae = model(kind)  # not built: that happens in one of the threads
    x, z = images(ROWS + 4), np.ones((5, vae.prior.latent_dim), "float32")
    c, few = given(vae, len(x)), given(vae, 5)
    calls = {
        "sample": lambda: vae.sample(5, seed=1, condition=few),
        "sample in blocks": lambda: vae.sample(len(x), seed=1, condition=c),
        "reconstruct": lambda: vae.reconstruct(x[:5], few),
        "reconstruct in blocks": lambda: vae.reconstruct(x, c),
        "encode": lambda: np.asarray(vae.encode(x[:5], few).sample(seed=[3, 4])),
        "decode": lambda: np.asarray(vae.decode(z, few).mean()),
        "log_prob": lambda: vae.log_prob(x[:5], 2, condition=few),
        "call": lambda: np.asarray(vae(x[:5], condition=few)),
    }
    start = threading.Barrier(6)

    def all_of_them():
        start.wait()
        return [{name: call() for name, call in calls.items()} for _ in range(2)]

    with ThreadPoolExecutor(6) as pool:
        results = [result for future in [pool.submit(all_of_them) for _ in range(6)] for result in future.result()]
    alone = {name: call() for name, call in calls.items()}
    for result in results:
        for name, values in alone.items():
            np.testing.assert_array_equal(result[name], values, err_msg=name)
    assert len({w.path for w in vae.weights}) == len(vae.weights)


def test_gradients_with_respect_to_what_is_given():
    vae = make_vae(event_shape=SHAPE)
    z, x = tf.Variable(np.ones((2, 4), "float32")), tf.constant(images(3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(vae.decode(z).mean() ** 2) + tf.reduce_sum(vae.encode(x).mean() ** 2)
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(loss, [z, x]))


SAMPLE = """
import resource, sys
import keras_vae as kv
from keras_vae import likelihoods, networks, posteriors, priors
vae = kv.VAE(
    kv.Encoder(networks.conv([32, 64]), posteriors.MultivariateNormalDiag(8)),
    kv.Decoder(networks.conv([64, 32]), likelihoods.Bernoulli((28, 28, 1))),
    priors.StandardNormal(8),
)
vae.sample(16, seed=0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert vae.sample(20_000, seed=0).shape == (20_000, 28, 28, 1)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10)
"""


@pytest.mark.slow
def test_memory_of_many_samples_is_that_of_the_result():
    ended = subprocess.run([sys.executable, "-c", SAMPLE], capture_output=True, text=True, check=True)
    # The result has 60 MiB; all at once, one layer of the network has 2 GiB.
    assert float(ended.stdout.split()[-1]) < 700
