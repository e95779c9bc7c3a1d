"""The configs of the package: their names, what each is, and their text."""

import re
import shutil
import textwrap
from pathlib import Path

from keras_vae_cli import catalogue, settings
from keras_vae_cli.errors import ConfigError

# Between a name and what it is.
GAP = 2
# Of a line where there is no terminal.
WIDTH = 160


def listed() -> str:
    """One line for each config: its name, and the first sentence of its head."""
    found = heads()
    width = max(map(len, found)) + GAP
    room = max(40, shutil.get_terminal_size((WIDTH, 0)).columns - width)
    lines = {name: textwrap.shorten(line, room, placeholder=" ...") for name, line in found.items()}
    return "\n".join(f"{name:<{width}}{line}" for name, line in lines.items())


def heads() -> dict[str, str]:
    """What each config says of itself, by its name; those that reproduce papers come last."""
    folder = catalogue.configs_folder()
    paths = sorted(folder.rglob("*.yaml"), key=lambda path: (len(path.relative_to(folder).parts), path))
    return {path.relative_to(folder).with_suffix("").as_posix(): head(path) for path in paths}


def head(path: Path) -> str:
    """What a config says of itself: the first sentence of the comment that it begins with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = []
    for line in lines:
        if not re.match(r"#\s*\S", line):
            break
        comment.append(line.removeprefix("#").strip())
    return catalogue.sentence(" ".join(comment))


def text(name: str) -> str:
    """The text of a config as it stands in its file.

    Raises:
        ConfigError: if there is none of this name, with those that there are; for a file that is no text.
    """
    path = settings.find(name)
    try:
        return path.read_text(encoding="utf-8").rstrip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a YAML file: {error}") from None
