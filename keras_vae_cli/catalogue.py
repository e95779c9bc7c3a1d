"""The parts that a config can name and their arguments, read from the source of `keras_vae` without importing it."""

import ast
import dataclasses
import functools
import importlib.util
from pathlib import Path
from typing import Any, Literal

Kind = Literal["posterior", "prior", "likelihood", "objective", "network", "schedule", "vae"]
KINDS: tuple[Kind, ...] = ("posterior", "prior", "likelihood", "objective", "network", "schedule", "vae")
# Filled in from the rest of the config, so that no config has to say them.
IMPLIED = (
    *("latent_dim", "event_shape", "condition"),
    *("encoder", "decoder", "prior", "objective", "seed", "gradient_skip_norm"),
)


@dataclasses.dataclass(frozen=True)
class Argument:
    """One argument of a constructor: its annotation as written, and whether it must be given."""

    name: str
    annotation: str
    required: bool


@dataclasses.dataclass(frozen=True)
class Part:
    """A class or function that makes one part of a model.

    Attributes:
        kind: what it can stand for in a config.
        name: what a config calls it.
        module: where it is imported from.
        arguments: those of its constructor, the implied ones included.
    """

    kind: Kind
    name: str
    module: str
    arguments: tuple[Argument, ...]


def package_folder() -> Path:
    """Where `keras_vae` is installed."""
    spec = importlib.util.find_spec("keras_vae")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("keras_vae is not installed.")
    return Path(spec.submodule_search_locations[0])


@functools.cache
def parts() -> dict[Kind, dict[str, Part]]:
    """All parts by kind and name."""
    classes: dict[str, tuple[str, ast.ClassDef]] = {}
    aliases: dict[str, tuple[str, str]] = {}
    folder = package_folder()
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder).with_suffix("").parts
        # In a checkout the exports are a link, which the search does not follow; they have no parts.
        if inside[0] == "export":
            continue
        module = ".".join(("keras_vae", *inside))
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                _add(classes, module, node)
            elif isinstance(node, ast.Assign):
                aliases.update({name: (module, meant) for name, meant in _aliases(node)})
    found: dict[Kind, dict[str, Part]] = {kind: {} for kind in KINDS}
    for name, (module, node) in classes.items():
        kind = _kind(name, classes)
        if kind and kind != "network" and _is_registered(node):
            found[kind][name] = Part(kind, name, module, _constructor(name, classes))
    for name, (module, meant) in aliases.items():
        if _kind(meant, classes) == "network" and _is_registered(classes[meant][1]):
            found["network"][name] = Part("network", name, module, _constructor(meant, classes))
    return found


def _aliases(node: ast.Assign) -> list[tuple[str, str]]:
    """The pairs of names in `a = A` and `a, b = A, B`."""
    target, value = node.targets[0], node.value
    sides = [side.elts if isinstance(side, ast.Tuple) else [side] for side in (target, value)]
    pairs = zip(*sides, strict=False)
    return [(a.id, b.id) for a, b in pairs if isinstance(a, ast.Name) and isinstance(b, ast.Name)]


def _add(classes: dict[str, tuple[str, ast.ClassDef]], module: str, node: ast.ClassDef) -> None:
    # A config and a saved model know a class by its name alone.
    if node.name in classes:
        raise RuntimeError(f"Two classes are called {node.name}: in {classes[node.name][0]} and in {module}.")
    classes[node.name] = (module, node)


def _is_registered(node: ast.ClassDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "register" for d in node.decorator_list)


def _kind(name: str, classes: dict[str, tuple[str, ast.ClassDef]]) -> Kind | None:
    """The kind whose base class, `Posterior` and so on, is an ancestor of the class; `VAE` is of its own kind."""
    if name == "VAE":
        return "vae"
    for base in _bases(name, classes):
        if base.lower() in KINDS:
            return base.lower()  # type: ignore[return-value]
        if kind := _kind(base, classes):
            return kind
    return None


def _bases(name: str, classes: dict[str, tuple[str, ast.ClassDef]]) -> list[str]:
    if name not in classes:
        return []
    bases = classes[name][1].bases
    return [b.id if isinstance(b, ast.Name) else b.attr for b in bases if isinstance(b, (ast.Name, ast.Attribute))]


def _constructor(name: str, classes: dict[str, tuple[str, ast.ClassDef]]) -> tuple[Argument, ...]:
    for node in classes[name][1].body if name in classes else []:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return _arguments(node.args)[1:]
    for base in _bases(name, classes):
        if arguments := _constructor(base, classes):
            return arguments
    return ()


def _arguments(node: ast.arguments) -> tuple[Argument, ...]:
    positional = [*node.posonlyargs, *node.args]
    defaults: list[Any] = [None] * (len(positional) - len(node.defaults)) + list(node.defaults)
    pairs = [*zip(positional, defaults, strict=True), *zip(node.kwonlyargs, node.kw_defaults, strict=True)]
    return tuple(
        Argument(a.arg, ast.unparse(a.annotation) if a.annotation else "Any", default is None) for a, default in pairs
    )
