"""What all tests share."""

import collections
import functools
import gc
import os
import sys
import time
import typing

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

if sys.version_info < (3, 12):
    # As Python 3.12 does itself. TensorFlow asks so often whether something is a tensor: an eighth of all time.
    typing._get_protocol_attrs = functools.cache(typing._get_protocol_attrs)


# Of the cases of one slow test, every so manieth is one of every commit, from the first on.
CASES = 3


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A test is of every day, slow or exhaustive.

    Of a slow test with many cases a third is slow and the others are exhaustive, unless it is `slow(every=True)`: where
    each case is another thing.
    """
    seen = collections.Counter()
    for item in items:
        slow = item.get_closest_marker("slow")
        if slow and item.get_closest_marker("exhaustive"):
            raise pytest.UsageError(f"{item.nodeid} is marked slow and exhaustive: with -m slow it would run in CI.")
        if slow and hasattr(item, "callspec") and not slow.kwargs.get("every"):
            name = (item.path, item.parent.name, item.originalname)
            if seen[name] % CASES:
                item.own_markers[:] = [mark for mark in item.own_markers if mark.name != "slow"]
                item.add_marker("exhaustive")
            seen[name] += 1


def pytest_runtest_setup(item):
    """On a machine with little time slow tests are left out, and counted, instead of none having a result."""
    until = os.environ.get("KERAS_VAE_TESTS_UNTIL")
    if until and time.time() > float(until) and item.get_closest_marker("slow"):
        pytest.skip("the time that $KERAS_VAE_TESTS_UNTIL allows is over")


def pytest_collection_finish():
    """TensorFlow's modules are a million objects, through which each collection of garbage would look again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _fresh_keras():
    """Each test starts from the same seed, the float32 policy and no other test's names."""
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """Scikit-learn's handwritten digits in black and white, [1797, 8, 8, 1]."""
    return (load_digits().images[..., None] > 8).astype("float32")


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """Prepared datasets go to a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_VAE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
