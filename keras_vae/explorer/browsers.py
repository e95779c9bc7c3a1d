"""A browser without a window, to see what a page does before it is given away."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

NAMES = (
    *("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    *("chrome", "microsoft-edge"),
)
ELEMENT = re.compile(r'<pre id="checked"[^>]*>([^<]*)</pre>')
SECONDS = 60


class BrowserFailed(RuntimeError):
    """A browser that gave no answer."""


def find_browser() -> str | None:
    """The path of a Chromium on this machine, None if there is none; `$CHROME` names one first."""
    named = os.environ.get("CHROME")
    return next((found for name in ([named] if named else []) + list(NAMES) if (found := shutil.which(name))), None)


def answer_of(page: str, browser: str, fragment: str = "check", seconds: float = SECONDS) -> str:
    """What a page writes into its element `checked`, opened as file:///...#fragment.

    Args:
        page: HTML.
        browser: path of a Chromium.
        fragment: what stands behind # in the address.
        seconds: after which it is given up.

    Raises:
        BrowserFailed: if there is no answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page, encoding="utf-8")
        options = ["--headless", "--disable-gpu", f"--user-data-dir={folder}/profile", "--virtual-time-budget=60000"]
        # Chromium's own sandbox is not to be had by root, as in containers; the page is our own.
        options += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        command = [browser, *options, "--dump-dom", f"{path.resolve().as_uri()}#{fragment}"]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds, encoding="utf-8")
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BrowserFailed(f"{browser} did not open the page: {error}") from error
    found = ELEMENT.search(ended.stdout)
    if not found or not found[1].strip():
        raise BrowserFailed(f"{browser} opened the page, and it gave no answer: {ended.stderr[-300:].strip()}")
    return found[1]
