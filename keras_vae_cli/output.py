"""What is printed, and how files are called, ends no command.

Neither does a character that the terminal lacks, nor a reader that has gone, nor a locale of another encoding.
"""

import codecs
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

# What stands for characters that a terminal does not have; others are written as \\xe9 and the like.
PLAIN = {"±": "+-", "…": "...", "—": "-", "─": "-", "│": "|", "╭": "+", "╮": "+", "╰": "+", "╯": "+"}
ERRORS = "keras_vae.plain"


def in_utf8() -> None:
    """Begin once more in Python's UTF-8 mode, where the locale has the names of files in another encoding.

    TensorFlow takes every name for UTF-8, and would write to other files than Python.
    """
    if os.name == "posix" and not sys.flags.utf8_mode and sys.getfilesystemencoding() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


class Lasting:
    """A stream that goes on to take text when nobody reads it any more, or the disk behind it is full."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or do nothing."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """Flush, or do nothing."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._give_up()

    def _give_up(self) -> None:
        # What is still held back would be tried again when Python ends, and fail once more.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """While a command runs its output cannot fail."""
    codecs.register_error(ERRORS, _plain)
    before = sys.stdout, sys.stderr
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        try:
            # A stream is None where whoever started the command has closed it.
            sys.stdout, sys.stderr = (_made_lasting(stream or nowhere) for stream in before)
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            sys.stdout, sys.stderr = before


def _made_lasting(stream: TextIO) -> Any:
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=ERRORS)
    return Lasting(stream)


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in bad), error.end
