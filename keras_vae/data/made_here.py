"""Datasets that this package makes itself: where they are kept, and how they get there."""

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow_datasets as tfds

Make = Callable[..., tfds.core.DatasetBuilder]
logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where datasets of ours are kept: $KERAS_VAE_CACHE/tfds, or keras_vae/tfds in the user's cache folder."""
    if ours := os.environ.get("KERAS_VAE_CACHE"):
        return Path(ours) / "tfds"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keras_vae" / "tfds"


@contextlib.contextmanager
def prepared(make: Make, data_dir: str | os.PathLike | None = None) -> Iterator[tfds.core.DatasetBuilder]:
    """A builder, with its files there to be read.

    Args:
        make: makes it, given `data_dir=`.
        data_dir: where the files are kept; None for `cache_folder()`. Where it cannot be written, they are made in a
            temporary folder for the time of the context.
    """
    with contextlib.ExitStack() as stack:
        try:
            root = Path(data_dir) if data_dir is not None else cache_folder()
            builder = make(data_dir=root)
            if not builder.is_prepared():
                _prepare(make, root)
                builder = make(data_dir=root)
        except (OSError, RuntimeError) as error:  # Path.home() raises RuntimeError for a user without a home
            logger.info("a dataset is made in a temporary folder: %s", error)
            temporary = stack.enter_context(tempfile.TemporaryDirectory())
            builder = make(data_dir=temporary)
            _write(builder)
        yield builder


def _prepare(make: Make, root: Path) -> None:
    """Write the files beside their place and move them there in one step: no process ever sees half of them."""
    root.mkdir(parents=True, exist_ok=True)
    # Not left to TFDS: it names its temporary folder by Python's random numbers, and two processes with the same seed
    # would write into the same one.
    with tempfile.TemporaryDirectory(prefix=".making-", dir=root) as temporary:
        builder = make(data_dir=temporary)
        _write(builder)
        place = Path(make(data_dir=root).data_path)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            Path(builder.data_path).rename(place)
        except OSError:
            if not make(data_dir=root).is_prepared():  # or another process was quicker
                raise


def _write(builder: tfds.core.DatasetBuilder) -> None:
    """Prepare without the messages of TFDS, which speak of a download and of the temporary folder."""
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        builder.download_and_prepare()
