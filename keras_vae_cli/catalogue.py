"""The parts that a config can name and their arguments, read from the source of `keras_vae` without importing it."""

import ast
import dataclasses
import functools
import importlib.util
import re
from pathlib import Path
from typing import Any, Literal

Kind = Literal["posterior", "prior", "likelihood", "objective", "network", "schedule", "vae"]
KINDS: tuple[Kind, ...] = ("posterior", "prior", "likelihood", "objective", "network", "schedule", "vae")
# Filled in from the rest of the config, so that no config has to say them.
IMPLIED = (
    *("latent_dim", "event_shape", "condition", "schema"),
    *("encoder", "decoder", "prior", "objective", "seed", "gradient_skip_norm"),
)
# Of a prior over codes: those of the posterior, unless a config gives them.
SIZES = ("grid", "num_codes", "depth")


@dataclasses.dataclass(frozen=True)
class Argument:
    """One argument of a constructor: its annotation and its default as written, and whether it must be given."""

    name: str
    annotation: str
    required: bool
    default: str | None = None


@dataclasses.dataclass(frozen=True)
class Part:
    """A class or function that makes one part of a model.

    Attributes:
        kind: what it can stand for in a config.
        name: what a config calls it.
        module: where it is imported from.
        arguments: those of its constructor, the implied ones included.
        text: its docstring.
    """

    kind: Kind
    name: str
    module: str
    arguments: tuple[Argument, ...]
    text: str = ""

    @property
    def line(self) -> str:
        """The first sentence of its docstring."""
        return sentence(self.text)

    @property
    def given(self) -> tuple[Argument, ...]:
        """The arguments that a config may give."""
        return tuple(argument for argument in self.arguments if argument.name not in IMPLIED)


def sentence(text: str) -> str:
    """The first sentence of a text, or its first paragraph if that is shorter; "et al. 2017" ends none."""
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[^.\s]{3}\.)\s+(?=[A-Z])", paragraph)[0]


def package_folder() -> Path:
    """Where `keras_vae` is installed."""
    spec = importlib.util.find_spec("keras_vae")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("keras_vae is not installed.")
    return Path(spec.submodule_search_locations[0])


def configs_folder() -> Path:
    """Where the configs of the package are.

    A checkout keeps them at its top, and keras_vae/configs is a link to them, or a file where git makes no links; an
    unpacked source distribution has no link either.
    """
    folder = package_folder()
    return next((path for path in (folder / "configs", folder.parent / "configs") if path.is_dir()), folder / "configs")


Classes = dict[str, tuple[str, ast.ClassDef]]


@functools.cache
def other_names() -> dict[str, str]:
    """What Python calls parts that have another name in configs, such as `Residual`: their names there by these."""
    classes, aliases = _sources(package_folder())
    named = {
        name: meant for name, (_, meant) in aliases.items() if meant in classes and _is_registered(classes[meant][1])
    }
    return {name: meant for name, meant in named.items() if _kind(meant, classes) not in (None, "network")}


@functools.cache
def parts() -> dict[Kind, dict[str, Part]]:
    """All parts by kind and name."""
    classes, aliases = _sources(package_folder())
    found: dict[Kind, dict[str, Part]] = {kind: {} for kind in KINDS}
    for name, (module, node) in classes.items():
        kind = _kind(name, classes)
        if kind and kind != "network" and _is_registered(node):
            found[kind][name] = _part(kind, name, module, name, classes)
    for name, (module, meant) in aliases.items():
        if _kind(meant, classes) == "network" and _is_registered(classes[meant][1]):
            found["network"][name] = _part("network", name, module, meant, classes)
    return found


def own_part(name: str, module: str, source: str) -> tuple[Kind | None, Part, bool]:
    """A class of the user's own, as its source has it: its kind, None of no part, and whether it is registered.

    Args:
        name: of the class.
        module: where it is imported from.
        source: of that module.

    Raises:
        KeyError: if there is no such class; its arguments are the names of those that there are.
        SyntaxError: if the source is no Python.
    """
    known, _ = _sources(package_folder())
    own = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    if name not in own:
        raise KeyError(*own)
    # A class may be called like one of the package that it derives from.
    key = f"{module}:{name}"
    classes = {**{other: (module, node) for other, node in own.items()}, **known, key: (module, own[name])}
    kind = _kind(key, classes)
    return kind, _part(kind or "vae", key, module, key, classes), _is_registered(own[name])


def _part(kind: Kind, name: str, module: str, key: str, classes: Classes) -> Part:
    arguments = _constructor(key, classes)
    if kind == "prior":
        arguments = tuple(_of_posterior(argument) if argument.name in SIZES else argument for argument in arguments)
    return Part(kind, name, module, arguments, ast.get_docstring(classes[key][1]) or "")


def _of_posterior(argument: Argument) -> Argument:
    annotation = argument.annotation.removesuffix(" | None") + " | None"
    return Argument(argument.name, annotation, required=False, default="None")


@functools.cache
def _sources(folder: Path) -> tuple[Classes, dict[str, tuple[str, str]]]:
    """The classes of the package, and what else some of them are called."""
    classes: Classes = {}
    aliases: dict[str, tuple[str, str]] = {}
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
    return classes, aliases


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
    return any(ast.unparse(d).rpartition(".")[2] == "register" for d in node.decorator_list)


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
        Argument(
            a.arg,
            ast.unparse(a.annotation) if a.annotation else "Any",
            default is None,
            None if default is None else ast.unparse(default),
        )
        for a, default in pairs
    )
