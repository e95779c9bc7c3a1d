"""The data set `topics`: the same always, and of the law that it says."""

import numpy as np
import pytest

from keras_vae import data
from keras_vae.data.embeddings import topics


def test_by_name_it_is_what_the_formula_makes():
    splits = data.read_splits("topics", validation_split=0.1)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [27_000, 3000, 2000]
    x, of = topics.make(topics.TEST, 1)
    np.testing.assert_array_equal(np.concatenate(list(splits.test.dataset(500))), x)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1.0, atol=1e-6)
    assert x.dtype == np.float32 and of.shape == (2000, 3) and of.min() == 0 and of.max() == 7
    # Items of one topic are alike, and the more so the finer it is: with c the same, the cosine is the share of the
    # variance that is shared.
    shared = np.cumsum(np.square(topics.SPREADS)) / (np.sum(np.square(topics.SPREADS)) + topics.NOISE**2)
    for depth, expected in enumerate(shared, 1):
        _, group = np.unique(of[:, :depth], axis=0, return_inverse=True)
        same = group.ravel()[:, np.newaxis] == group.ravel()
        if depth < 3:
            deeper = np.unique(of[:, : depth + 1], axis=0, return_inverse=True)[1].ravel()
            same &= deeper[:, np.newaxis] != deeper
        np.fill_diagonal(same, False)
        assert (x @ x.T)[same].mean() == pytest.approx(expected, abs=0.03)


def test_labels_are_the_first_topics_and_there_are_no_options():
    splits = data.read_splits("topics", labels=True)
    labels = np.concatenate([y for _, y in splits.test.dataset(500)])
    np.testing.assert_array_equal(labels, topics.make(topics.TEST, 1)[1][:, 0])
    for name, options, words in (
        ("topics/many", {}, "no options"),
        ("topics", {"resize": (8, 8)}, "for images"),
    ):
        with pytest.raises(ValueError, match=words):
            data.read_all(name, **options)
