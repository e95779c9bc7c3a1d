"""Kinds of arguments, and where something may be written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclopts import Parameter

from keras_vae_cli.errors import ConfigError

Many = Parameter(consume_multiple=True, negative="")
Flag = Parameter(negative="")


def _whole_number(kind: Any, tokens: Sequence[Any]) -> int:
    """Digits as an int; 1.5 is not rounded, and none is no number."""
    (token,) = tokens
    if not token.value.strip().removeprefix("-").isdecimal():
        raise ValueError(f"{token.value!r} is no whole number, such as 3.")
    return int(token.value)


Whole = Parameter(converter=_whole_number)
Wholes = Parameter(
    converter=lambda kind, tokens: [_whole_number(int, [token]) for token in tokens],
    consume_multiple=True,
    negative="",
)


def _filled(token: Any) -> str:
    # As a path it would be the current folder.
    if not token.value:
        raise ValueError("It is empty, as a variable of the shell is that was not set: give a path.")
    return token.value


def _place(kind: Any, tokens: Any) -> Path:
    (token,) = tokens
    return Path(_filled(token))


Places = Parameter(converter=lambda kind, tokens: [Path(_filled(token)) for token in tokens], negative="")
Picture = Parameter(converter=lambda kind, tokens: _filled(tokens[0]))
Data = Parameter(converter=lambda kind, tokens: [_filled(token) for token in tokens], allow_leading_hyphen=False)
Place = Parameter(converter=_place)
Output = Parameter(name=("--output", "-o"), converter=_place)


def _config_names(context: Any) -> dict[str, str]:
    from keras_vae_cli.looks import configs

    return {**configs.heads(), **{str(path): "a file" for path in sorted(Path().glob("*.yaml"))}}


def _part_names(context: Any) -> list[str]:
    from keras_vae_cli import catalogue

    return [*catalogue.KINDS, *(name for parts in catalogue.parts().values() for name in parts)]


# What a shell offers in their place.
ConfigName, PartName = Parameter(completer=_config_names), Parameter(completer=_part_names)


def check_output(path: Path, force: bool, suffixes: Sequence[str], folder: str = "") -> None:
    """Refuse a place where nothing may be written, before there is anything to write.

    Args:
        path: of the file, or of the folder if it has no suffix.
        force: whether a file that is there gives way.
        suffixes: of the files that can be written.
        folder: what a folder would hold; nothing if none can be written.

    Raises:
        ConfigError: saying what can be given.
    """
    suffix = path.suffix.lower()
    allowed = [f"a file that ends in {', '.join(suffixes)}", *([f"a folder, for {folder}"] if folder else [])]
    if suffix not in suffixes and (suffix or not folder):
        raise ConfigError(f"--output {path}: give {' or '.join(allowed)}.")
    is_empty = path.is_dir() and not any(path.iterdir())
    if (path.exists() or path.is_symlink()) and not force and not is_empty:
        raise ConfigError(f"{path} is there already, and was not touched: give another name, or --force to replace it.")
    if suffix and path.is_dir():
        raise ConfigError(f"{path} is a folder: give the name of a file.")
    if not suffix and path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file, and no folder: give another name, or one that ends in {suffixes[0]}.")
