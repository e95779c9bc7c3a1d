"""Parts of the user's own in a config: `{name: mine:StudentT}` is the class StudentT of the module mine.

A module is looked for in the current folder, and where Python looks. It is never taken from a run folder: whoever got
that from somebody else would execute what lies in it.
"""

import importlib
import importlib.machinery
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_vae_cli import catalogue, hints


def is_own(name: str) -> bool:
    """Whether the name in a config is that of a class in a module."""
    return ":" in name


def find(kind: catalogue.Kind, name: str) -> catalogue.Part:
    """The part that the name stands for, read from its source.

    Raises:
        ValueError: if there is no such module or class, or it is no part of this kind, saying how one is written.
    """
    module, _, called = name.partition(":")
    if not all(word.isidentifier() for word in (*module.split("."), called)):
        raise ValueError(f"{name!r} is no class in a module: write it as mine:StudentT, of the file mine.py")
    path = source_of(module)
    if path is None:
        raise ValueError(
            f"there is no module {module!r} for {name!r}: it is looked for in the current folder, {Path.cwd()}, and "
            "where Python finds what is installed"
        )
    base = {"vae": "kv.VAE"}.get(kind, f"{_face(kind)}.{kind.capitalize()}")
    how = f"write @kv.register above class {called}({base})"
    try:
        found, part, is_registered = catalogue.own_part(called, module, path.read_text(encoding="utf-8"))
    except KeyError as error:
        near = hints.meant(called, error.args)
        guess = f"; did you mean {module}:{near}?" if near else ""
        raise ValueError(f"{path} has no class {called!r}{guess}") from None
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no Python: {error}") from None
    if found != kind:
        what = f"is a {found}" if found else "derives from no part of keras_vae"
        raise ValueError(f"{name} {what}, and a {kind} is wanted: {how}")
    if not is_registered:
        raise ValueError(f"{name} could not be loaded again: {how}")
    return part


def names(value: Any) -> Iterator[str]:
    """All names of own parts in the values of a config."""
    if isinstance(value, dict):
        if isinstance(value.get("name"), str) and is_own(value["name"]):
            yield value["name"]
        for inner in value.values():
            yield from names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from names(inner)


def modules(model: dict[str, Any]) -> list[str]:
    """The modules of all own parts, each once."""
    return list(dict.fromkeys(name.partition(":")[0] for name in names(model)))


def source_of(module: str) -> Path | None:
    """The file of a module; nothing is imported."""
    way = _way(module)
    origin = way[-1].origin if way else None
    return Path(origin) if origin and origin.endswith(".py") else None


def _way(module: str) -> list[importlib.machinery.ModuleSpec]:
    """Where the packages of a module lie, and it itself: all that its import executes. Nothing if one is missing."""
    places: Any = _places()
    found = []
    # By the last word alone: of a dotted name a folder without __init__.py asks for its package, which is not imported.
    for word in module.split("."):
        spec = importlib.machinery.PathFinder.find_spec(word, places)
        if spec is None:
            return []
        found.append(spec)
        places = list(spec.submodule_search_locations or [])
    return found


def load(module: str) -> Any:
    """Import a module of the user's.

    Raises:
        ValueError: if it raises anything.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        return importlib.import_module(module)
    except Exception as error:  # whatever the user's code does
        where = source_of(module) or module
        raise ValueError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error


def load_all(model: dict[str, Any], run: Path) -> None:
    """Import the modules of all own parts, so that a model that has them can be loaded.

    Args:
        model: that section of the config.
        run: its folder, from which nothing is imported.

    Raises:
        ValueError: for a module that is missing, lies in the run folder, or raises anything.
    """
    for module in modules(model):
        for spec in _way(module):
            for path in map(Path, [spec.origin] if spec.origin else spec.submodule_search_locations or []):
                if _lies_in(path, run):
                    raise ValueError(
                        f"{path} lies in the run folder, and is not executed: if you trust it, put it into the folder "
                        "where you give this command, outside of the run."
                    )
        # What the module itself imports would be looked for there.
        if _lies_in(Path.cwd(), run):
            raise ValueError(
                f"{module} is not imported in the run folder: whatever lies there could be executed. Give this command "
                "in another folder."
            )
        load(module)


def _lies_in(path: Path, run: Path) -> bool:
    """Whether a file or folder, or one on the way to it, lies in the run, which links may lead into and out of."""
    whole = path.absolute()
    return any(place.resolve().is_relative_to(run.resolve()) for place in (whole, *whole.parents))


def _places() -> list[str]:
    here = str(Path.cwd())
    return [*sys.path, here] if here not in sys.path else sys.path


def _face(kind: catalogue.Kind) -> str:
    return {"likelihood": "likelihoods", "schedule": "schedules"}.get(kind, f"{kind}s")
