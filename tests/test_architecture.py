"""The house rules: who may import whom, what a folder is, that parts are never asked for their class."""

import ast
import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import keras
import pytest

import keras_vae
import keras_vae_cli
from keras_vae_cli import catalogue

LIBRARY, COMMAND_LINE = Path(keras_vae.__file__).parent, Path(keras_vae_cli.__file__).parent
# Reached by a link, or where git makes none, by what `pip install -e` says of it.
EXPORT = Path(keras_vae.export.__file__).parent

# A room is a folder, or a file at the top. It imports only rooms of lower floors; inside a room there are no circles.
FLOORS = {
    "_version": 0,
    "arguments": 0,
    "files": 0,
    "internals": 0,
    "seeds": 0,
    "startup": 0,
    "serialization": 1,
    "conditions": 2,
    "data": 1,
    "distributions": 1,
    "schedules": 2,
    "likelihoods": 2,
    "networks": 3,
    "posteriors": 3,
    "terms": 2,
    "flows": 4,
    "objectives": 4,
    "priors": 4,
    "training": 3,
    "models": 5,
    "compression": 6,
    "evaluation": 6,
    "explorer": 7,
    "export": 7,
    "disentanglement": 7,
    "pictures": 7,
    "callbacks": 8,
    "keras_vae": 9,
    "keras_vae_cli": 9,
}
MOST_FILES, MOST_LINES_OF_A_FACE = 12, 60
# What Python promises in spite of the underscore: of named tuples, and os._exit.
DOCUMENTED = {"_asdict", "_replace", "_fields", "_exit"}


def sources() -> dict[str, ast.Module]:
    """The syntax trees of both packages by the full names of their modules."""
    found = {}
    # A search follows no links; installed, it finds the exports twice.
    for package, folder in (("keras_vae", LIBRARY), ("keras_vae.export", EXPORT), ("keras_vae_cli", COMMAND_LINE)):
        for path in folder.rglob("*.py"):
            name = ".".join((package, *path.relative_to(folder).with_suffix("").parts))
            found[name.removesuffix(".__init__")] = ast.parse(path.read_text("utf-8"))
    return found


SOURCES = sources()
INNER = {EXPORT, EXPORT / "proof", COMMAND_LINE / "commands" / "products"}
FOLDERS = sorted(
    INNER
    | {p for package in (LIBRARY, COMMAND_LINE) for p in (package, *(i.parent for i in package.glob("*/__init__.py")))}
)


def imports(tree: ast.Module) -> set[str]:
    """The modules of both packages that are imported, at the top or inside functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in SOURCES else node.module for name in names}
    return {name for name in found if name.split(".")[0] in ("keras_vae", "keras_vae_cli", "export")}


def room(module: str) -> str:
    package, *rest = module.split(".")
    return rest[0] if package == "keras_vae" and rest else package


def is_face(module: str) -> bool:
    return any(other.startswith(f"{module}.") for other in SOURCES)


@pytest.mark.parametrize("module", SOURCES)
def test_modules_import_only_what_lies_below(module):
    assert room(module) in FLOORS, f"give {room(module)} a floor"
    for imported in imports(SOURCES[module]):
        assert imported != "keras_vae" or room(module) == "keras_vae_cli", f"{module} imports the package root"
        if room(imported) == room(module):
            continue
        assert FLOORS[room(imported)] < FLOORS[room(module)] or imported == "keras_vae", (
            f"{module} imports {imported}, which is not below it"
        )
        # A face is for users: inside, a change of one part must not load them all.
        assert room(module) in ("keras_vae", "keras_vae_cli") or not is_face(imported), (
            f"{module} imports the face {imported}: name the file"
        )


def test_no_floor_is_higher_than_it_must_be_and_no_room_is_gone():
    below: dict[str, set[str]] = {name: set() for name in FLOORS}
    for module, tree in SOURCES.items():
        below[room(module)] |= {room(name) for name in imports(tree)} - {room(module), "keras_vae"}
    assert {room(module) for module in SOURCES} == set(FLOORS)
    for name, others in below.items():
        assert FLOORS[name] == 1 + max((FLOORS[other] for other in others), default=-1), name


def test_there_are_no_circles():
    graph = {module: imports(tree) - {"keras_vae"} for module, tree in SOURCES.items() if module != "keras_vae"}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for imported in graph.get(module, ()):
                visit(imported, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_a_folder_is_small_and_its_init_is_its_face(folder):
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "_version"}
    assert len(files) <= MOST_FILES
    if folder == LIBRARY:
        return
    text = (folder / "__init__.py").read_text("utf-8")
    assert text.count("\n") <= MOST_LINES_OF_A_FACE
    docstring, *rest = ast.parse(text).body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, ast.ImportFrom) or ast.unparse(node).startswith("__all__ = ") for node in rest)
    exported = {alias.name for node in rest if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert not exported & files, "a module and a name of its face are called alike: the one hides the other"


def test_what_is_installed_is_all_of_the_folders():
    """A checkout finds a folder that pyproject.toml does not list, and an installation does not."""
    settings = LIBRARY.parent / "pyproject.toml"
    if not settings.exists():
        pytest.skip("an installed package has no pyproject.toml")
    listed = tomllib.loads(settings.read_text("utf-8"))["tool"]["setuptools"]["packages"]
    configs = LIBRARY.parent / "configs"
    folders = {module for module in SOURCES if is_face(module)} | {"keras_vae.configs"}
    folders |= {f"keras_vae.configs.{path.name}" for path in configs.iterdir() if path.is_dir()}
    assert sorted(listed) == sorted(folders)


def test_the_command_line_imports_tensorflow_only_when_there_is_work():
    for path in (p for folder in ("", "calls", "looks") for p in (COMMAND_LINE / folder).glob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names = [name for name in names if not name.startswith("keras_vae_cli") or "commands" in name]
            assert not {n.split(".")[0] for n in names} & {"keras_vae", "keras_vae_cli", "tensorflow", "keras"}, path


def concrete_parts() -> set[str]:
    """Names of the registered classes that derive from another class of ours."""
    classes = {
        node.name: node
        for module, tree in SOURCES.items()
        if room(module) != "keras_vae_cli"
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    registered = {
        name for name, node in classes.items() if any(ast.unparse(d) == "register" for d in node.decorator_list)
    }
    return registered - {"Encoder", "Decoder", "VAE"} | {"Joint", "OneHot", "Quantized"}


def test_parts_declare_what_they_are_and_nobody_asks_their_class():
    concrete = concrete_parts()
    assert {"Deterministic", "LadderDecoder", "VampPrior", "Label", "GatedMLP", "VectorQuantized"} <= concrete
    for module, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
                asked = {
                    n.id if isinstance(n, ast.Name) else n.attr
                    for n in ast.walk(node.args[1])
                    if isinstance(n, (ast.Name, ast.Attribute))
                }
                tfp = {
                    n.attr
                    for n in ast.walk(node.args[1])
                    if isinstance(n, ast.Attribute)
                    and ast.unparse(n.value)
                    in ("tfd", "tf.linalg", "tfds.features", "keras.layers", "keras.optimizers")
                }
                # How a distribution is drawn in an export hangs on what it is made of.
                assert module == "keras_vae.export.draw" or not (asked - tfp) & concrete, (
                    f"{module}:{node.lineno} asks for the class {(asked - tfp) & concrete}: let the part declare it"
                )


def test_private_names_of_others_stand_in_one_file():
    ours = {
        name
        for tree in SOURCES.values()
        for node in ast.walk(tree)
        for name in (
            [node.name]
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))
            else [node.attr]
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
            else [node.id]
            if isinstance(node, ast.Name)
            else []
        )
    }
    for module, tree in SOURCES.items():
        # The script of the child process must do without TensorFlow's Python, and so without internals.py.
        if module in ("keras_vae.internals", "keras_vae.export.proof.run_saved_model"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                assert node.attr in ours | DOCUMENTED, f"{module}:{node.lineno} uses {node.attr}: see internals.py"
        named = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not [n for n in named if n.startswith(("tensorflow.python", "keras.src"))], module
        assert "__internal__" not in ast.unparse(tree), module


def test_all_parts_are_registered_and_documented():
    for kind, parts in catalogue.parts().items():
        for name, part in parts.items():
            made = getattr(importlib.import_module(part.module), name)
            assert made.__doc__
            if kind != "network":  # those are made by functions
                assert keras.saving.get_registered_object(f"keras_vae>{name}") is made


def test_the_package_imports_nothing_heavy_before_it_is_needed():
    code = "import sys, keras_vae; print(sorted(set(sys.modules) & set(sys.argv[1:])))"
    heavy = ["sklearn.tree", "sklearn.linear_model", "sklearn.mixture", "tensorflow_datasets"]
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY.parent), "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run(
        [sys.executable, "-c", code, *heavy], env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "[]", ended.stdout
