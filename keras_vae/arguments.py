"""Checks of the arguments of constructors, which say what is allowed."""

from typing import Any

import numpy as np


def check_count(name: str, count: Any, at_least: int = 1) -> int:
    """The number as an int.

    Raises:
        ValueError: if it is not an int of at least `at_least`.
    """
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < at_least:
        raise ValueError(f"{name} must be an int >= {at_least}, not {count!r}.")
    return int(count)
