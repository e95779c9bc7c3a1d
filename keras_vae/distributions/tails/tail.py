"""The tail of a density at one end, and which tails of q a tail of p can carry: E_q[-log p] finite or not.

At an infinite end u = |z|, at a finite one u = 1 / |z - end|; a tail says how -log density grows with u:

    polynomial      (m + 1) log u at infinity, (m - 1) log u at a finite end: E u^k is finite for k < m alone
    log-normal      (log u)^2: all moments of u are finite, and no exponential one
    power           r u^k: k = 2 is Gaussian, k = 1 exponential
    exponential     exp(r u), the lower tail of a Gumbel

KL(q || p) = E_q[log q] - E_q[log p] is infinite where the second mean is. So Cauchy against normal is (E z^2 = inf),
and a Student t of three degrees of freedom is not.
"""

import math
from typing import NamedTuple

from keras_vae.distributions.support import Support

POLYNOMIAL, LOG_NORMAL, POWER, EXPONENTIAL = range(4)


class Tail(NamedTuple):
    """One tail. Of two, the heavier is the smaller tuple.

    Attributes:
        kind: POLYNOMIAL, LOG_NORMAL, POWER or EXPONENTIAL.
        exponent: m of a polynomial tail, k of a power.
        rate: r of a power or an exponential.
    """

    kind: int
    exponent: float = 0.0
    rate: float = 1.0

    def carries(self, q: "Tail") -> bool:
        """Whether E_q[-log p] is finite at this end, where p has this tail and q that one."""
        if self.kind in (POLYNOMIAL, LOG_NORMAL):
            return q.kind != POLYNOMIAL or q.exponent > 0
        if self.kind == POWER:
            return q.kind != POLYNOMIAL or q.exponent > self.exponent
        lighter = q.kind == POWER and (q.exponent > 1 or (q.exponent == 1 and q.rate > self.rate))
        return q.kind == EXPONENTIAL or lighter

    def __str__(self) -> str:
        if self.kind == POLYNOMIAL:
            return f"E u^k finite for k < {self.exponent:.3g} only"
        return ("", "log-normal", f"exp(-u^{self.exponent:.3g})", "exp(-exp(u))")[self.kind]


class Tails(NamedTuple):
    """The tails of every component of a variable at the low and the high end of its support.

    A part whose distribution is none of TFP's declares it beside `support`:

        tails = posteriors.Tails.power(2)               # as a Gaussian
        tails = posteriors.Tails.polynomial(moments=3)  # E |z|^k finite for k < 3 only

    Attributes:
        low: at the low end.
        high: at the high end.
    """

    low: Tail
    high: Tail

    def have_mean(self, support: Support) -> bool:
        """Whether E |z| is finite: a tail at a finite end does not matter."""
        ends = zip(self, support, strict=True)
        return all(math.isfinite(end) or tail.kind != POLYNOMIAL or tail.exponent > 1 for tail, end in ends)

    @classmethod
    def power(cls, exponent: float) -> "Tails":
        """exp(-r |z|^exponent) at both ends: 2 for a Gaussian, 1 for a Laplace."""
        return cls(Tail(POWER, exponent), Tail(POWER, exponent))

    @classmethod
    def polynomial(cls, moments: float) -> "Tails":
        """Both ends with E |z|^k finite for k < moments alone, as the df of a Student t; 1 for a Cauchy.

        At a finite end, a density like |z - end|^(moments - 1): 1 for one that is neither zero nor infinite there.
        """
        return cls(Tail(POLYNOMIAL, moments), Tail(POLYNOMIAL, moments))


# Of which no moment is known to be finite but the logarithm's: what a tail is that nobody knows.
HEAVIEST = Tail(POLYNOMIAL, 1e-6)
GAUSSIAN = Tails.power(2.0)
# Of a density that does not vanish at the ends of an interval.
EVEN = Tails.polynomial(1.0)
# Of a point mass, or of a finite number of values: no q is lighter.
NONE = Tails(Tail(EXPONENTIAL, 0.0, math.inf), Tail(EXPONENTIAL, 0.0, math.inf))


def heavier(a: Tails | None, b: Tails | None) -> Tails | None:
    """The heavier of two at either end, None where one is unknown."""
    return None if a is None or b is None else Tails(min(a.low, b.low), min(a.high, b.high))
