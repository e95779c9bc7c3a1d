"""`keras-vae explore`: a page to play with. In Python: `explorer.make_page(vae, data)`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from keras_vae import data, explorer, files
from keras_vae.explorer.browsers import BrowserFailed
from keras_vae.explorer.checks import TOLERANCE
from keras_vae.explorer.page import size_in_words
from keras_vae_cli.commands import run_folder
from keras_vae_cli.commands.products.given import read_given
from keras_vae_cli.commands.products.opened import open_model
from keras_vae_cli.commands.products.written import check_free
from keras_vae_cli.errors import ConfigError

PAGE = "explore.html"
# Examples that the page is made with, and among how many they are drawn.
LOOKED_AT, AMONG = 512, 4096
# Bytes beyond which training does not write a page unasked.
LARGEST_UNASKED = 8_000_000


def explore(
    run: Path,
    paths: Sequence[str],
    output: Path | None = None,
    precision: str = "float32",
    condition: Sequence[str] | None = None,
    force: bool = False,
) -> None:
    """Write the page of a model, after a look at what it computes in a browser, if there is one here.

    Args:
        run: folder or .keras file.
        paths: of pictures whose posteriors are shown; none for the test examples of the run.
        output: an .html file; None for PAGE in the run.
        precision: of the weights.
        condition: as it was typed.
        force: whether a file that is there gives way.

    Raises:
        ConfigError: for data that the model cannot take.
        CannotShow: for a model of which no page can be made.
        RuntimeError: if the page does not compute what Keras does.
    """
    path = output or run / PAGE
    files.check_folder(path.parent)
    opened = open_model(run)
    shown = _looked_at(read_given(opened, paths, condition))
    page = explorer.make_page(opened.vae, shown, _title(run), precision)
    said = _checked(page, opened.vae, shown, precision)
    check_free(path, force or output is None)
    files.write_text(path, page)
    opened.console.print(f"{path}: {size_in_words(page)}, to be opened in any browser.\n{said}")
    if '"encoder":null' in page:
        opened.console.print(
            "The encoder is not in it: the page would be larger than 1 MB, or has no such layers."
            + (" With --precision float16 it may be." if precision == "float32" else "")
        )


def write_unasked(run: Path, vae: Any, test: data.Arrays, console: Console) -> None:
    """The page of a model that has just been trained. What fails here is said, and no more."""
    try:
        page = explorer.make_page(vae, run_folder.some(test, LOOKED_AT).dataset(256), _title(run))
        if len(page.encode()) > LARGEST_UNASKED:
            console.print(f"No page to play with: it would have {size_in_words(page)}. keras-vae explore {run}")
            return
        files.write_text(run / PAGE, page)
        console.print(f"A page to play with: {run / PAGE} ({size_in_words(page)})")
    except explorer.CannotShow as reason:
        console.print(f"No page to play with. {reason}", markup=False)
    except Exception as error:
        console.print(f"No page to play with: {type(error).__name__}: {error}", markup=False)


def _title(run: Path) -> str:
    return run.absolute().name.removesuffix(".keras")


def _looked_at(given: Any) -> Any:
    """Some of the examples, with labels if there are any; files often come sorted."""
    xs, cs = [], []
    for x, c in given.batches():
        xs.append(x)
        cs.append(c)
        if sum(map(len, xs)) >= AMONG:
            break
    if not xs:
        raise ConfigError("There are no pictures to show: give some behind the run.")
    x = np.concatenate(xs)
    chosen = np.random.default_rng(0).permutation(len(x))[:LOOKED_AT]
    return x[chosen] if cs[0] is None else (x[chosen], np.concatenate(cs)[chosen])


def _checked(page: str, vae: Any, shown: Any, precision: str) -> str:
    """What was compared in a browser, in words."""
    browser = explorer.find_browser()
    if browser is None:
        return (
            "Not checked: there is no Chromium here to open it in (Debian's chromium-headless-shell is one; $CHROME "
            "names another)."
        )
    try:
        found = explorer.check_page(page, vae, shown, browser)
    except BrowserFailed as error:
        return f"Not checked: {error}"
    largest = max(found.decoded, found.encoded)
    if precision == "float32" and not largest <= TOLERANCE:
        raise RuntimeError(
            f"The page was not written: it differs from Keras by {largest:.2g}, and {TOLERANCE:g} is allowed. Please "
            "report this with the config of the run."
        )
    encoded = f", of {found.num_encoded} pictures by {found.encoded:.1g} in z" if found.num_encoded else ""
    return (
        f"Checked in {Path(browser).name}: the pictures of {found.num_decoded} z differ from Keras by at most "
        f"{found.decoded:.1g}{encoded}."
    )
