"""Signals that wait until training can be saved to the step, instead of ending it in the middle of something."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from keras_vae.training.replicas import agree, is_multi_worker

# Workers agree about so often, in seconds, on whether one of them was told to stop, and after so many calls at most.
ASK_AFTER, MOST_CALLS = 1.0, 50
WAITING = b"\nStopping: what was learned is saved first. Once more ends it at once.\n"


class HeldBack:
    """The first of some signals is remembered, a second one goes to whoever handled it before.

    Attributes:
        number: of the signal that came; None if there was none.
        is_useful: whether there is something to save: until then no signal is held back.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.is_useful = False
        self._before: dict[int, Any] = {}
        self._has_come = False
        self._calls, self._asked, self._every, self._asked_at = 0, 0, 1, time.monotonic()

    @contextlib.contextmanager
    def during(self, signals: Sequence[int]) -> Iterator[None]:
        """Hold back signals; those that the process ignores it goes on to ignore. Only the main thread gets any."""
        self.number, self.is_useful, self._has_come, self._before = None, False, False, {}
        self._calls, self._asked, self._every, self._asked_at = 0, 0, 1, time.monotonic()
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in signals}
            self._before = {n: h for n, h in handlers.items() if h not in (signal.SIG_IGN, None)}
        for number in self._before:
            signal.signal(number, self._take)
        try:
            yield
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def came(self, strategy: tf.distribute.Strategy, at_once: bool = False) -> bool:
        """Whether there was a signal, on any worker; all must call this at the same points.

        Args:
            strategy: of the model.
            at_once: whether workers ask each other in any case, not only now and then.
        """
        if not is_multi_worker(strategy):
            self._has_come = self.number is not None
        elif not self._has_come:
            self._calls += 1
            done = self._calls - self._asked
            if at_once or done >= self._every:
                now = time.monotonic()
                wanted = int(done * ASK_AFTER / max(now - self._asked_at, 1e-3))
                wanted = max(1, min(wanted, 2 * self._every, MOST_CALLS))
                self._asked, self._asked_at = self._calls, now
                self._has_come, self._every = agree(strategy, self.number is not None, wanted)
        return self._has_come

    def hand_on(self) -> None:
        """Do what the signal would have done: where that is the end of the process, as an exception.

        Raises:
            SystemExit: with 128 and the number of the signal, if nobody else handles it.
        """
        number = self.number or signal.SIGTERM  # another worker's
        handler = self._before.get(number, signal.SIG_DFL)
        if callable(handler):
            handler(number, None)
        raise SystemExit(128 + number)

    def _take(self, number: int, frame: Any) -> None:
        is_first, self.number = self.number is None, number
        if is_first and self.is_useful:
            with contextlib.suppress(OSError):
                os.write(2, WAITING)
        else:
            self.hand_on()
