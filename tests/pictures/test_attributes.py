"""Attributes of linear models, in which what is drawn is known."""

import numpy as np
import parts
import pytest
from sklearn.datasets import load_digits

import keras_vae as kv
from keras_vae import likelihoods, networks, pictures, posteriors, priors
from keras_vae.conditions import Label
from keras_vae.pictures import of_attributes

SHAPE, SIZE = (4, 3, 1), 12


def linear(latent_dim=3, condition=None):
    """z = A x, E x = B z."""
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(latent_dim), condition),
        kv.Decoder(networks.mlp([]), likelihoods.Normal(SHAPE, scale=0.1), condition),
        priors.StandardNormal(latent_dim),
        seed=0,
    )
    vae.build()
    return vae


@pytest.fixture
def images():
    return np.random.default_rng(0).random((60, *SHAPE), "float32")


def grid(vae, data, measured=None, n=None, strengths=None, examples=None):
    return of_attributes._grid(vae, data, measured, n, strengths, examples)


def test_at_one_each_example_is_as_far_from_the_other_class_as_it_was_from_its_own(images):
    vae = linear()
    labels = np.repeat([0, 2, 5], 20)
    tiles, rows, columns, _ = grid(vae, (images, labels))
    assert rows == ["0 → 2", "2 → 5", "5 → 0"]
    assert columns == ["data", "0", "0.25", "0.5", "0.75", "1"]
    back = vae.reconstruct(images)
    for row, (label, to) in enumerate([(0, 2), (2, 5), (5, 0)]):
        first = int(np.flatnonzero(labels == label)[0])
        np.testing.assert_array_equal(tiles[row, 0], images[first])
        np.testing.assert_allclose(tiles[row, 1], back[first], atol=1e-5)
        moved = back[first] + back[labels == to].mean(axis=0) - back[labels == label].mean(axis=0)
        np.testing.assert_allclose(tiles[row, 5], moved, atol=1e-4)
        np.testing.assert_allclose(tiles[row, 3], (tiles[row, 1] + tiles[row, 5]) / 2, atol=1e-4)


def test_with_measurements_there_is_a_block_of_examples_for_each(images):
    vae = linear()
    bright, random = images.mean(axis=(1, 2, 3)), np.random.default_rng(1).random(60)
    tiles, rows, columns, _ = grid(vae, images, {"bright": bright, "chance": random}, 2, [-1.0, 0.0, 2.0], [7, 3])
    assert rows == ["bright", "", "chance", ""] and columns == ["data", "-1", "0", "+2"]
    for block in (0, 2):
        np.testing.assert_array_equal(tiles[block : block + 2, 0], images[[7, 3]])
        np.testing.assert_allclose(tiles[block : block + 2, 2], vae.reconstruct(images[[7, 3]]), atol=1e-5)
    # The same change for every example, twice as far the other way.
    steps = tiles[:, 3] - tiles[:, 2]
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-5)
    np.testing.assert_allclose(tiles[:, 1] - tiles[:, 2], -steps / 2, atol=1e-5)
    assert np.abs(steps[0] - steps[2]).max() > 1e-3


def test_numbers_of_a_dataset_have_names_and_a_file_is_written(images, tmp_path):
    class Named:
        class_names = ("boot", "a sneaker")

        def __iter__(self):
            yield from ((images[start::2], np.arange(30) % 2) for start in (0, 1))

    tiles, rows, _, _ = grid(linear(), Named(), n=1)
    assert rows == ["boot → a sneaker"] and len(tiles) == 1
    pictures.attributes(linear(), (images, np.arange(60) % 2), path=tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_digits_become_other_digits():
    """As nearest neighbours see it: most of the rows that lead to another digit end at it."""
    from sklearn.neighbors import KNeighborsClassifier

    bunch = load_digits()
    x, y = (bunch.images[..., None] / 16).astype("float32"), bunch.target
    vae = kv.VAE(
        kv.Encoder(networks.mlp([64]), posteriors.MultivariateNormalDiag(8)),
        kv.Decoder(networks.mlp([64]), likelihoods.Normal(x.shape[1:], scale=0.15)),
        priors.StandardNormal(8),
        seed=0,
    )
    vae.compile("adam")
    vae.optimizer.learning_rate = 5e-3
    vae.fit(x, epochs=30, batch_size=100, verbose=0)
    judge = KNeighborsClassifier(5).fit(x.reshape(len(x), -1), y)
    hits = []
    for start in range(5):
        chosen = [int(np.flatnonzero(y == label)[start]) for label in range(10)]
        tiles = grid(vae, (x, y), examples=chosen)[0]
        hits += list(judge.predict(tiles[:, -1].reshape(10, -1)) == (np.arange(10) + 1) % 10)
    assert np.mean(hits) > 0.7


def test_what_cannot_be_led_anywhere_is_refused(images):
    with pytest.raises(ValueError, match="Without labels of classes give measured"):
        pictures.attributes(linear(), images)
    with pytest.raises(ValueError, match="All of the data are of one class"):
        pictures.attributes(linear(), (images, np.zeros(60, int)))
    with pytest.raises(ValueError, match="is told the class"):
        pictures.attributes(linear(condition=Label(4)), (images, np.arange(60) % 4))
    with pytest.raises(ValueError, match="examples must be an int from 0 to 59"):
        pictures.attributes(linear(), (images, np.arange(60) % 4), examples=[60])
    with pytest.raises(ValueError, match="examples is empty"):
        pictures.attributes(linear(), (images, np.arange(60) % 4), examples=[])
    with pytest.raises(ValueError, match="must be one number for each of the 60 examples"):
        pictures.attributes(linear(), images, {"bright": np.zeros(3)})


@pytest.mark.parametrize("posterior", ["one_hot", "joint", "quantized"])
def test_codes_have_no_directions(posterior):
    vae = parts.vae(kv.VAE, posterior)
    x = parts.data(vae.decoder.likelihood)
    assert not of_attributes.can_lead_to_classes(vae, np.arange(len(x)) % 2)
    with pytest.raises(ValueError, match="is a discrete code"):
        pictures.attributes(vae, (x, np.arange(len(x)) % 2))


@pytest.mark.parametrize(
    ("labels", "expected"), [(np.arange(60) % 3, True), (None, False), (np.zeros(60), False), (np.ones((60, 2)), False)]
)
def test_the_pictures_of_a_run_have_them_where_there_are_classes(images, labels, expected):
    assert of_attributes.can_lead_to_classes(linear(), labels) is expected
    assert not of_attributes.can_lead_to_classes(linear(condition=Label(4)), labels)
