"""What is given to a model is looked at, at every method, before any work."""

import time

import numpy as np
import pytest
import tensorflow as tf
from small_models import compiled, make_vae

from keras_vae import likelihoods
from keras_vae.models import inputs

SHAPE = (8, 6, 1)


def images(n=40):
    return np.random.default_rng(0).integers(0, 2, (n, *SHAPE)).astype("float32")


def spoilt(row, value):
    x = images()
    x[row, 3, 3, 0] = value
    return x


# What is given, and what the message says of it.
WRONG = {
    "uint8": (lambda: (images() * 255).astype("uint8"), r"integers \(uint8\).*/ 255"),
    "zeros and ones in uint8": (lambda: images().astype("uint8"), r'as they stand: x.astype\("float32"\)'),
    "0 to 255": (lambda: images() * 255, r"neither .*\[0, 255\].*x / 255, which data.load does"),
    "gray in a late row": (lambda: spoilt(39, 0.5), "From example 39 on: Bernoulli"),
    "NaN in a late row": (lambda: spoilt(38, np.nan), r"1 values of the data are NaN .* 1 of 40 .*number 38\)"),
    "infinite": (lambda: spoilt(0, -np.inf), "NaN or infinite"),
    "beyond float32": (lambda: spoilt(0, 1.0).astype("float64") * 1e300, "NaN or infinite in float32"),
    "no channel": (lambda: images()[..., 0], r"channel axis: x\[..., None\]"),
    "one channel axis more": (lambda: images()[..., None], r"x\[..., 0\]"),
    "swapped sides": (lambda: np.swapaxes(images(), 1, 2), r"Height and width are swapped: np.swapaxes\(x, 1, 2\)"),
    "channels first": (lambda: np.moveaxis(images(), -1, 1), r"np.moveaxis\(x, 1, -1\)"),
    "colour": (lambda: np.repeat(images(), 3, -1), r"x.mean\(axis=-1, keepdims=True\)"),
    "another size": (lambda: np.zeros((1, 16, 12, 1), "float32"), r"resize=\(8, 6\)"),
    "flat": (lambda: images().reshape(40, -1), r"x.reshape\(-1, 8, 6, 1\)"),
    "two axes of batches": (lambda: images()[None], r"x.reshape\(-1, 8, 6, 1\)"),
    "one picture": (lambda: images()[0], r"x\[None\]"),
    "one picture without channel": (lambda: images()[0, ..., 0], r"x\[None, ..., None\]"),
    "a scalar": (lambda: 1.0, r"shape \(\)"),
    "nothing": (list, r"shape \(0,\)"),
    "strings": (lambda: np.full((2, *SHAPE), "a"), "dtype <U1"),
    "objects": (lambda: np.full((2, *SHAPE), None), "of objects"),
    "None": (lambda: None, "not NoneType"),
    "ragged lists": (lambda: [[1.0], [1.0, 2.0]], "is no array"),
    "complex": (lambda: images().astype("complex64"), "dtype complex64"),
    "fields": (lambda: np.zeros((2, *SHAPE), [("a", "f4")]), "dtype"),
    "masked": (lambda: np.ma.masked_equal(images(), 1), "masked values"),
    "sparse": (lambda: tf.sparse.from_dense(images()[:, :, 0, 0]), "make it dense"),
    "ragged": (lambda: tf.ragged.constant([[1.0], [1.0, 2.0]]), "one shape"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_data_are_refused_with_the_remedy(name):
    make, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        inputs.examples(make_vae(event_shape=SHAPE), make())


def test_what_is_right_passes_in_every_form():
    vae, x = make_vae(event_shape=SHAPE), images(3)
    forms = (x, x.astype("float64"), x.astype(bool), x.tolist(), tf.constant(x), tf.cast(x, tf.bfloat16), x[::-1][::-1])
    for form in forms:
        found = inputs.examples(vae, form)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, x)
    assert inputs.examples(vae, x[:0]).shape == (0, *SHAPE)
    assert inputs.examples(make_vae(event_shape=SHAPE, likelihood=likelihoods.Normal(SHAPE)), x * 300).max() == 300


@pytest.mark.parametrize("form", ["fit", "evaluate", "validation_data", "pair"])
def test_all_rows_of_arrays_are_looked_at_before_training(form):
    vae, x = compiled(event_shape=SHAPE), images(64)
    bad = x.copy()
    bad[33:] *= 0.5  # the first batch of 32 is as it should be
    before = vae.decoder.get_weights() if vae.built else None
    with pytest.raises(ValueError, match=r"From example 3[3-5] on: Bernoulli"):
        if form == "fit":
            vae.fit(bad, verbose=0)
        elif form == "evaluate":
            vae.evaluate(bad, verbose=0)
        elif form == "pair":
            vae.fit(x, validation_data=(bad, np.zeros(64)), verbose=0)
        else:
            vae.fit(x, validation_data=bad, verbose=0)
    assert before is None and int(vae.step) == 0


def test_what_is_only_shaped_like_the_data_need_not_lie_in_the_support():
    likelihood = likelihoods.Bernoulli(SHAPE)
    likelihood.check(images() * 300, of_support=False)
    for wrong in (spoilt(39, np.nan), images()[..., 0], images().astype("uint8")):
        with pytest.raises(ValueError, match=r"The data|of the data"):
            likelihood.check(wrong, of_support=False)


def test_the_look_is_cheap():
    """Sixty thousand images of 28x28: well under a second."""
    likelihood = likelihoods.Bernoulli((28, 28, 1))
    x = np.zeros((60_000, 28, 28, 1), "float32")
    times = []
    for _ in range(3):
        start = time.perf_counter()
        likelihood.check(x)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5
