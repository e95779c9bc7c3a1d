"""Where a variable lies: intervals, and whether one is inside another."""

import math
from typing import Any, NamedTuple


class Support(NamedTuple):
    """The interval in which every component of a variable lies; `REAL` is the whole line."""

    low: float
    high: float

    def contains(self, other: "Support") -> bool:
        """Whether `other` lies inside this interval, as a finite KL(q || p) requires of q and p (not sufficient)."""
        return self.low <= other.low and other.high <= self.high

    def outside(self, x: Any) -> Any:
        """Which finite values lie beyond an end, bools shaped like `x`, an array or a tensor; None if there is no end.

        Nothing is compared with infinity: in a file that keeps its constants in float16 that is 65,504.
        """
        found = None
        if math.isfinite(self.low):
            found = x < self.low
        if math.isfinite(self.high):
            found = x > self.high if found is None else found | (x > self.high)
        return found

    def __str__(self) -> str:
        return "the whole real line" if self == REAL else f"[{self.low:g}, {self.high:g}]"


REAL = Support(-math.inf, math.inf)


UNIT = Support(0.0, 1.0)


def union(a: Support, b: Support) -> Support:
    """The smallest interval that holds both."""
    return Support(min(a.low, b.low), max(a.high, b.high))
