"""How far long work on data is, for whoever waits for it."""

import sys
import time
from types import TracebackType

# Seconds before anything is said, and between two lines: on a terminal, where one replaces the other, and elsewhere.
PATIENCE, ON_TERMINAL, ELSEWHERE = 3.0, 0.5, 20.0


class Counter:
    """Says on the standard error how many are done, if it takes long. A context: at its end the terminal is clean.

    Args:
        what: is done to what, such as "reading images".
        total: how many there are; None if nobody knows.
        done: how many are done already.
    """

    def __init__(self, what: str, total: int | None = None, done: int = 0) -> None:
        self.what, self.total, self.done = what, total, done
        self._said = time.monotonic() + PATIENCE - ELSEWHERE
        self._first, self._width = time.monotonic() + PATIENCE, 0

    def __enter__(self) -> "Counter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._width:
            self._write("\r" + " " * self._width + "\r")

    def reached(self, done: int) -> None:
        """So many are done."""
        self.done = done
        now = time.monotonic()
        if now < self._first or now - self._said < (ON_TERMINAL if self._is_terminal else ELSEWHERE):
            return
        self._said = now
        of = "" if self.total is None else f" of {self.total:,}"
        line = f"{self.what}: {done:,}{of}"
        if self._is_terminal:
            self._write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self._write(line + "\n")

    @property
    def _is_terminal(self) -> bool:
        return sys.stderr is not None and sys.stderr.isatty()

    @staticmethod
    def _write(text: str) -> None:
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()
