"""`sample_weight` and `class_weight`: every form of data, against the weighted mean made by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import make_conditional

import keras_vae as kv
from keras_vae import conditions, likelihoods, networks, objectives, posteriors, priors

RANDOM = np.random.default_rng(0)
X = (RANDOM.random((40, 4, 4, 1)) < 0.3).astype("float32")
Y = np.arange(40) % 3
# Bright images weigh more, and are less likely.
W = (RANDOM.random(40) * X.mean(axis=(1, 2, 3)) ** 2).astype("float32")
SIZE = 16


def make(**options):
    """A model without noise, that does not learn."""
    vae = kv.VAE(
        kv.Encoder(networks.mlp([8]), posteriors.Deterministic(2)),
        kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((4, 4, 1))),
        priors.StandardNormal(2),
        objectives.Reconstruction(),
        seed=1,
        **options,
    )
    vae.compile(keras.optimizers.SGD(0.0))
    vae.build()
    vae.adapted.assign(1)
    return vae


def by_hand(vae, weights, x=X, target=None):
    """sum w_i log p(x_i|z_i) / sum w_i."""
    terms = vae.infer(x, **({} if target is None else {"target": target}))
    each = terms.log_likelihood.numpy()[0]
    return np.sum(weights * each) / np.sum(weights)


class Batches(keras.utils.PyDataset):
    def __init__(self, *parts):
        super().__init__()
        self.parts = parts

    def __len__(self):
        return -(-len(X) // SIZE)

    def __getitem__(self, index):
        rows = slice(SIZE * index, SIZE * (index + 1))
        return tuple(None if part is None else part[rows] for part in self.parts)


class OfMapping(Batches):
    def __getitem__(self, index):
        x, y, w = super().__getitem__(index)
        return {"image": x}, y, w


def generator(*parts):
    source = Batches(*parts)
    return (source[index] for index in range(len(source)))


def dataset(*parts):
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0]).batch(SIZE)


FORMS = {
    "array": lambda w: (X, {"sample_weight": w, "batch_size": SIZE}),
    "array, y": lambda w: (X, {"y": Y, "sample_weight": w, "batch_size": SIZE}),
    "tensor": lambda w: (tf.constant(X), {"sample_weight": tf.constant(w), "batch_size": SIZE}),
    "list of weights": lambda w: (X, {"sample_weight": list(w), "batch_size": SIZE}),
    "a column": lambda w: (X, {"sample_weight": w[:, None].astype("float64"), "batch_size": SIZE}),
    "mapping": lambda w: ({"image": X}, {"sample_weight": w, "batch_size": SIZE}),
    "dataset": lambda w: (dataset(X, Y, w), {}),
    "dataset of mappings": lambda w: (dataset({"image": X}, Y, w), {}),
    "PyDataset": lambda w: (Batches(X, Y, w), {}),
    "PyDataset without y": lambda w: (Batches(X, None, w), {}),
    "PyDataset of mappings": lambda w: (OfMapping(X, None, w), {}),
    "generator": lambda w: (generator(X, Y, w), {}),
    "generator without y": lambda w: (generator(X, None, w), {}),
}
VALIDATION = {
    "x, None, w": lambda w: (X, None, w),
    "x, y, w": lambda w: (X, Y, w),
    "list": lambda w: [X, Y, w],
    "mapping": lambda w: ({"image": X}, None, w),
    "tensors": lambda w: (tf.constant(X), None, tf.constant(w)),
    "dataset": lambda w: dataset(X, Y, w),
    "PyDataset": lambda w: Batches(X, None, w),
}


@pytest.fixture(scope="module")
def vae():
    return make()


@pytest.mark.parametrize("form", FORMS)
def test_fit_and_evaluate_report_the_weighted_mean(vae, form):
    expected = by_hand(vae, W)
    assert abs(expected - by_hand(vae, np.ones(40))) > 1e-3
    data, options = FORMS[form](W)
    # Keras warns of a generator that ends by itself.
    steps = 3 if "generator" in form else None
    found = vae.evaluate(data, **options, steps=steps, return_dict=True, verbose=0)
    assert found["log_likelihood"] == pytest.approx(expected, rel=1e-5)
    assert found["loss"] == pytest.approx(-expected, rel=1e-5)
    data, options = FORMS[form](W)
    history = vae.fit(data, **options, steps_per_epoch=steps, verbose=0).history
    assert history["log_likelihood"] == pytest.approx([expected], rel=1e-5)


@pytest.mark.parametrize("form", VALIDATION)
def test_so_does_validation(vae, form):
    history = vae.fit(X, validation_data=VALIDATION[form](W), batch_size=SIZE, verbose=0).history
    assert history["val_log_likelihood"] == pytest.approx([by_hand(vae, W)], rel=1e-5)
    assert history["log_likelihood"] == pytest.approx([by_hand(vae, np.ones(40))], rel=1e-5)


def test_weights_go_with_their_examples_in_a_split_and_in_any_order(vae):
    history = vae.fit(X, sample_weight=W, validation_split=0.25, batch_size=SIZE, verbose=0).history
    assert history["log_likelihood"] == pytest.approx([by_hand(vae, W[:30], X[:30])], rel=1e-5)
    assert history["val_log_likelihood"] == pytest.approx([by_hand(vae, W[30:], X[30:])], rel=1e-5)
    history = vae.fit(X, sample_weight=W, steps_per_epoch=2, batch_size=20, verbose=0).history
    assert history["log_likelihood"] == pytest.approx([by_hand(vae, W)], rel=1e-5)


def test_on_single_batches(vae):
    expected = pytest.approx(by_hand(vae, W), rel=1e-5)
    assert vae.train_on_batch(X, sample_weight=W, return_dict=True)["log_likelihood"] == expected
    assert vae.test_on_batch(X, sample_weight=W, return_dict=True)["log_likelihood"] == expected


def test_class_weight_weighs_by_the_labels(vae):
    weights = np.array([0.5, 2.0, 0.1])[Y]
    given = {0: 0.5, 1: 2.0, 2: 0.1}
    for data, options in ((X, {"y": Y, "batch_size": SIZE}), (dataset(X, Y), {})):
        history = vae.fit(data, **options, class_weight=given, verbose=0).history
        assert history["log_likelihood"] == pytest.approx([by_hand(vae, weights)], rel=1e-5)
    with pytest.raises(ValueError, match="class_weight is for labels"):
        vae.fit(X, class_weight=given, verbose=0)


def test_conditional_models_keep_conditions_and_weights():
    vae = make_conditional(conditions.Label(3))
    vae.compile(keras.optimizers.SGD(0.0))
    x = np.repeat(X, 2, axis=-1)[:, :, :, :]
    x = np.concatenate([x, x], axis=1)[:, :6]
    x = np.concatenate([x, x], axis=2)[:, :, :5]
    expected = vae.evaluate(dataset(x, Y, W), return_dict=True, verbose=0)["kl"]
    for data in (x, {"image": x, "condition": Y}):
        options = {} if isinstance(data, dict) else {"y": Y}
        found = vae.evaluate(data, **options, sample_weight=W, batch_size=SIZE, return_dict=True, verbose=0)
        assert found["kl"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "weights, message",
    [
        (W[:7], "one number for each of the 40 examples.*shape .7,"),
        (np.ones((40, 4, 4)), "one number for each.*no likelihood"),
        (np.ones((40, 4, 4, 1)), "no likelihood"),
        (-W, "finite numbers >= 0"),
        (np.where(W > 0.01, np.nan, W), "finite numbers >= 0"),
        (np.zeros(40), "0 for all examples"),
        (np.full(40, 1e38), "the sum inf"),
        (np.full(40, 1e-42), "the sum .* scale them"),
        (np.array(["1"] * 40), "one number for each"),
    ],
    ids=["short", "per pixel", "per value", "negative", "NaN", "zero", "huge", "tiny", "strings"],
)
@pytest.mark.parametrize("method", ["fit", "evaluate", "validation"])
def test_weights_that_are_none(vae, method, weights, message):
    calls = {
        "fit": lambda: vae.fit(X, sample_weight=weights, verbose=0),
        "evaluate": lambda: vae.evaluate(X, sample_weight=weights, verbose=0),
        "validation": lambda: vae.fit(X, validation_data=(X, None, weights), verbose=0),
    }
    with pytest.raises(ValueError, match=message):
        calls[method]()


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_weights_of_datasets_are_looked_at_in_each_step(vae, method):
    late = W.copy()
    late[35] = -1
    with pytest.raises(ValueError, match=r"Batch 2 of .* 1 sample weights that are negative, NaN or infinite"):
        getattr(vae, method)(dataset(X, Y, late), verbose=0)
    with pytest.raises(ValueError, match="no likelihood"):
        getattr(vae, method)(dataset(X, Y, np.ones((40, 4, 4))), verbose=0)


def test_weights_of_datasets_that_are_all_zero_are_refused_after_an_evaluation(vae):
    nothing = dataset(X, Y, np.zeros(40, "float32"))
    with pytest.raises(ValueError, match="0 for all examples"):
        vae.evaluate(nothing, verbose=0)
    with pytest.raises(ValueError, match="0 for all examples"):
        vae.fit(X, validation_data=nothing, verbose=0)
