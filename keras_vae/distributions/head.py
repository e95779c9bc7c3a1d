"""The layer of TFP that wraps a distribution, for several threads at once."""

import threading
from typing import Any

from tensorflow_probability import layers as tfpl


class Head(tfpl.DistributionLambda):
    """`tfp.layers.DistributionLambda`, called by one thread at a time.

    While it is called, TFP's layer keeps in an attribute of its own that it is: a call from another thread in between
    would end with that of the first. A server calls a model from many threads.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # One thread may be inside of several calls, of a layer within a layer.
        self.lock = threading.RLock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The distribution, as a tensor too."""
        with self.lock:
            return super().__call__(*args, **kwargs)
