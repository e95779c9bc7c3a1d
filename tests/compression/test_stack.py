"""The stack: what is pushed is popped, what is popped is a draw, and symbols take their entropy."""

import numpy as np
import pytest
from scipy import stats

from keras_vae.compression.stack import Stack

RNG = np.random.default_rng(0)
N = 20_000


def bits(stack):
    return stack.coder.num_bits()


@pytest.mark.parametrize("std", [0.01, 3.0, 200.0, 1e5])
def test_integers_of_a_normal_distribution_take_their_entropy_and_come_back(std):
    mean = RNG.normal(size=N) * 1000
    k = np.rint(RNG.normal(mean, std)).astype(np.int64)
    stack = Stack(10)
    before = bits(stack)
    stack.push_normal(k, mean, np.full(N, std), steps=64, reach=64)
    masses = stats.norm.cdf((k + 0.5 - mean) / std) - stats.norm.cdf((k - 0.5 - mean) / std)
    exact = -np.log2(np.maximum(masses, 2.0**-24)).sum()
    assert bits(stack) - before == pytest.approx(exact, rel=2e-3, abs=64)
    np.testing.assert_array_equal(stack.pop_normal(mean, np.full(N, std), steps=64, reach=64), k)
    assert stack.is_as_begun


@pytest.mark.parametrize("std", [4.0, 1000.0])
def test_what_is_popped_from_random_bits_is_a_draw_and_can_be_put_back(std):
    stack = Stack(N)
    mean = np.full(N, 0.3)
    k = stack.pop_normal(mean, np.full(N, std), steps=16, reach=5)
    assert stats.kstest((k - 0.3 + RNG.uniform(-0.5, 0.5, N)) / np.hypot(std, 12**-0.5), "norm").pvalue > 1e-3
    stack.push_normal(k, mean, np.full(N, std), steps=16, reach=5)
    assert stack.is_as_begun and stack.kept()[1] == N


def test_choices_take_their_entropy_whether_or_not_they_are_scaled():
    for size in (2, 7):
        p = RNG.random((N, size)) ** 3
        symbols = (p.cumsum(axis=1) < RNG.random((N, 1)) * p.sum(axis=1, keepdims=True)).sum(axis=1)
        stack = Stack(10)
        before = bits(stack)
        stack.push_choice(symbols, p)
        exact = -np.log2(p[np.arange(N), symbols] / p.sum(axis=1)).sum()
        assert bits(stack) - before == pytest.approx(exact, rel=1e-3, abs=64)
        np.testing.assert_array_equal(stack.pop_choice(p), symbols)
        assert stack.is_as_begun


def test_uniform_symbols_of_all_sizes_come_back():
    sizes = RNG.integers(1, 5000, N)
    symbols = RNG.integers(0, sizes)
    stack = Stack(10)
    stack.push_uniform(symbols, sizes)
    np.testing.assert_array_equal(stack.pop_uniform(sizes), symbols)
    assert stack.is_as_begun


def test_words_that_nobody_touched_are_not_kept():
    stack = Stack(1000)
    stack.pop_uniform(np.full(10, 256))
    stack.push_uniform(np.full(40, 3), np.full(40, 256))
    words, untouched = stack.kept()
    assert untouched == pytest.approx(1000 - 80 / 32, abs=1.5) and len(words) == pytest.approx(10, abs=2)
    again = Stack(1000, words, untouched)
    np.testing.assert_array_equal(again.pop_uniform(np.full(40, 256)), np.full(40, 3))


def test_what_cannot_be_coded_is_refused_and_ends_no_process():
    stack = Stack(10)
    with pytest.raises(ValueError, match="more than 64 standard deviations"):
        stack.push_normal(np.array([10**6]), np.zeros(1), np.ones(1), steps=64, reach=64)
    for numbers in (np.array([np.nan]), np.array([np.inf])):
        with pytest.raises(ValueError, match="not finite"):
            stack.pop_normal(numbers, np.ones(1), steps=16, reach=5)
        with pytest.raises(ValueError, match="not finite"):
            stack.pop_choice(np.stack([numbers, numbers], axis=1))
