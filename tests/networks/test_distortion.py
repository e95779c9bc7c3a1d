"""Distorted inputs: in training alone, by a map of what is known, and resumed."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import affine_transform

import keras_vae as kv
from keras_vae import likelihoods, networks, posteriors, priors
from keras_vae.networks.distortion import Distortion


def blob(height=15, width=21):
    """A smooth picture, so that ways of interpolation agree, with nothing at the border."""
    y, x = np.mgrid[:height, :width].astype("float32")
    return np.exp(-(((y - 6.0) / 2.5) ** 2) - ((x - 12.0) / 3.0) ** 2)[np.newaxis, ..., np.newaxis]


def moments(picture):
    """Mass, centre, covariance of a picture [H, W], the coordinates x, y."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    at, mass = np.stack([x.ravel(), y.ravel()]), picture.ravel() / picture.sum()
    centre = at @ mass
    return picture.sum(), centre, ((at - centre[:, None]) * mass) @ (at - centre[:, None]).T


def test_without_training_images_are_as_they_are():
    layer = Distortion(2.0, 15.0, 0.25, 0.1)
    x = blob()
    np.testing.assert_array_equal(layer(x), x)
    assert np.abs(layer(x, training=True) - x).max() > 0.05


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((3.0, 0.0, 0.0, 0.0), "moved"),
        ((0.0, 40.0, 0.0, 0.0), "turned"),
        ((0.0, 0.0, 0.5, 0.0), "sheared"),
        ((0.0, 0.0, 0.0, 0.3), "zoomed"),
    ],
)
def test_each_limit_does_one_thing_and_no_more_than_it_says(limits, expected):
    keras.utils.set_random_seed(0)
    x = np.repeat(blob(31, 31), 64, axis=0)
    x = np.roll(x, (9, 3), axis=(1, 2))  # in the middle, about which is turned and zoomed
    distorted = Distortion(*limits)(x, training=True).numpy()[..., 0]
    before = moments(x[0, ..., 0])
    found = [moments(picture) for picture in distorted]
    shifts = np.array([centre - before[1] for _, centre, _ in found])
    areas = np.array([np.sqrt(np.linalg.det(c)) for *_, c in found]) / np.sqrt(np.linalg.det(before[2]))
    if expected == "moved":
        assert 2.5 < np.abs(shifts).max() < 3.01 and np.abs(shifts.mean(axis=0)).max() < 1.0
        np.testing.assert_allclose(areas, 1.0, atol=0.02)
        return
    np.testing.assert_allclose(shifts, 0.0, atol=0.05)
    if expected == "zoomed":
        assert 1.1 < areas.max() < 1.7 and 0.5 < areas.min() < 0.9
    else:
        np.testing.assert_allclose(areas, 1.0, atol=0.05)
    if expected == "turned":
        # The axes of the ellipse stay as long as they are.
        np.testing.assert_allclose(
            [np.linalg.eigvalsh(c) for *_, c in found], [np.linalg.eigvalsh(before[2])] * 64, rtol=0.08
        )
        axes = [np.degrees(np.arctan2(*np.linalg.eigh(c)[1][::-1, -1])) for *_, c in found]
        turned = np.abs((np.array(axes) + 90.0) % 180.0 - 90.0)
        assert 30.0 < turned.max() < 41.0
    if expected == "sheared":
        # Rows move along themselves: the height stays.
        np.testing.assert_allclose([c[1, 1] for *_, c in found], before[2][1, 1], rtol=0.05)
        assert 0.4 < np.abs([c[0, 1] / c[1, 1] for *_, c in found]).max() < 0.51


def test_the_map_is_that_of_scipy():
    """The same draws as a matrix about the centre."""
    layer, draws = Distortion(2.0, 30.0, 0.3, 0.2), keras.random.SeedGenerator(5)
    layer.draws = keras.random.SeedGenerator(5)
    u = keras.random.uniform((6, 1), -1.0, 1.0, dtype="float32", seed=draws).numpy()[:, 0]
    right, down, angle, shear, wide, high = u * [2.0, 2.0, np.radians(30.0), 0.3, 0.2, 0.2]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag([1.0 + wide, 1.0 + high])
    swap = matrix[::-1, ::-1]  # rows first
    centre, away = np.array([7.0, 10.0]), np.array([down, right])
    expected = affine_transform(
        blob()[0, ..., 0], swap, centre + away - swap @ centre, order=1, mode="nearest", output_shape=(15, 21)
    )
    np.testing.assert_allclose(layer(blob(), training=True)[0, ..., 0], expected, atol=1e-4)


def test_the_likelihood_is_of_the_image_as_it_is():
    """An encoder that sees nothing but noise still learns the mean image, sharp."""
    keras.utils.set_random_seed(0)
    x = np.repeat(np.eye(6)[np.newaxis, ..., np.newaxis], 64, axis=0).astype("float32")
    vae = kv.VAE(
        kv.Encoder(networks.distorted(networks.mlp([8]), shift=3.0), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.distorted(networks.mlp([8])), likelihoods.Bernoulli((6, 6, 1))),
        priors.StandardNormal(2),
        seed=0,
    )
    vae.compile(keras.optimizers.Adam(0.05))
    vae.fit(x, epochs=15, batch_size=16, verbose=0)
    np.testing.assert_allclose(vae.reconstruct(x[:1]), x[:1], atol=0.05)
    np.testing.assert_array_equal(vae.reconstruct(x[:2])[0], vae.reconstruct(x[:2])[1])


def test_vectors_and_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match=r"Only images .* are distorted, not data of shape \(7,\)"):
        networks.distorted(networks.mlp([8])).encoder_body((7,), "float32")
    for wrong in ({"shift": -1.0}, {"rotation": 181.0}, {"zoom": 1.0}, {"shear": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            networks.distorted(networks.mlp([8]), **wrong)


def test_half_precision_moves_in_float32():
    layer = Distortion(2.0, 15.0, 0.25, 0.1, dtype="mixed_float16")
    moved = layer(tf.constant(blob()), training=True)
    assert moved.dtype == tf.float16 and np.isfinite(moved).all()
