"""The import of TensorFlow and Keras: what the environment must not ask for, and what need not be printed."""

import contextlib
import ctypes
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# What TensorFlow's libraries write when nothing is wrong: that there is no GPU, or a CUDA library twice, what the CPU
# can do, which names are old. They write most of it before they read any log level.
HARMLESS = re.compile(
    rb"[IW]\d{4} |\d{4}-\d\d-\d\d [\d:.]+: [IW] |WARNING: All log messages before absl::InitializeLog|"
    rb"To enable the following instructions:|WARNING:(absl|tensorflow):|"
    rb".*(regist(er|ering) (cu\w+ )?factory|omputation placer already registered|failed call to cuInit: .*\(303\)|"
    rb"oneDNN supports DT_\w+ only on platforms with AVX-512)"
)
LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# Whether the first operation is still to come, and what it writes is to be held back.
_is_new = False


def check_environment() -> None:
    """Refuse what Keras would read from the environment and the package cannot work with.

    Raises:
        ImportError: naming the variable.
    """
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        raise ImportError(
            f"keras_vae runs on Keras's TensorFlow backend, but KERAS_BACKEND is {os.environ['KERAS_BACKEND']!r}. "
            'Unset it or set KERAS_BACKEND="tensorflow" before Keras is imported.'
        )
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
        raise ImportError(
            "keras_vae is made of Keras 3 models, but TF_USE_LEGACY_KERAS asks TensorFlow for Keras 2. Unset it."
        )


def import_quietly() -> None:
    """Import TensorFlow without the harmless part of what it writes to stderr; all of it is written if that fails.

    Whoever has imported TensorFlow before, or asks for its messages by TF_CPP_MIN_LOG_LEVEL=0 or 1, has it as it is. If
    the variable is not set it is 2 from here on: errors.
    """
    global _is_new
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault(LEVEL, "2")
    _is_new = os.environ[LEVEL] not in ("0", "1") and not may_abort()
    with _held_back() if _is_new else contextlib.nullcontext():
        import tensorflow as tf
        import tensorflow_probability as _  # noqa: F401

        if not _has_driver():
            # Else the first operation would report as an error that there is none.
            tf.config.list_physical_devices()


def operate_quietly() -> None:
    """Let TensorFlow report now, once and for all, that integers are not transposed by oneDNN, and hold that back.

    It is an error only by its name. Nothing is done at the import, where the first operation would settle the devices
    and the threads, which are the user's to choose; nor where `import_quietly` has held back nothing.
    """
    global _is_new
    if not _is_new:
        return
    _is_new = False
    import tensorflow as tf

    with _held_back(), tf.init_scope(), tf.device("CPU:0"):
        tf.transpose(tf.zeros((1, 2), "int32"))


def may_abort(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether TensorFlow may end the process as it is imported: nobody could then write what it has said last.

    It does so on processors of Intel's kind without AVX, for which it is not compiled.
    """
    try:
        with cpuinfo.open(encoding="ascii", errors="replace") as stream:
            flags = next((line.split() for line in stream if line.startswith("flags")), None)
    except OSError:
        return False
    return flags is not None and "avx" not in flags


def _has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Hold back what is written to stderr, and write what is not harmless in the end."""
    with contextlib.ExitStack() as stack:
        try:
            original = os.dup(2)  # first: where there is none, a new file would take its number
            stack.callback(os.close, original)
            held = stack.enter_context(tempfile.TemporaryFile())
        except OSError:  # no folder for temporary files, or no stderr
            yield
            return
        _flush()
        os.dup2(held.fileno(), 2)
        is_done = False
        try:
            yield
            is_done = True
        finally:
            _flush()
            os.dup2(original, 2)
            held.seek(0)
            for line in held:
                if not (is_done and HARMLESS.match(line)):
                    os.write(original, line)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
