"""The house rules: who may import whom, and that every registered class can be saved."""

import ast
import importlib
from pathlib import Path

import keras
import pytest

import keras_vae
from keras_vae_cli import catalogue

PACKAGE = Path(keras_vae.__file__).parent

# A module imports only modules of lower levels. Modules of a group may import each other if they make no circle.
LEVELS = {
    "_version": 0,
    "serialization": 0,
    "seeds": 0,
    "datasets": 0,
    "discretized": 0,
    "disentanglement": 0,
    "kumaraswamy": 0,
    "orthogonal": 0,
    "constraints": 0,
    "arguments": 0,
    "metrics": 0,
    "latents": 0,
    "distribution": 0,
    "cluster": 1,
    "reporting": 0,
    "drawing": 0,
    "updates": 0,
    "executions": 0,
    "inputs": 1,
    "schedules": 1,
    "data": 1,
    "guard": 2,
    "skipped": 3,
    "joint": 1,
    "networks": 1,
    "bijectors": 1,
    "likelihood": 1,
    "levels": 2,
    "posteriors": 2,
    "conditions": 2,
    "mixtures": 0,
    "priors": 3,
    "objectives": 2,
    "flows": 3,
    "likelihoods": 3,
    "regularizers": 3,
    "discrete": 4,
    "quantization": 4,
    "code_priors": 5,
    "encoder": 3,
    "decoder": 3,
    "hierarchy": 4,
    "compatibility": 5,
    "fitting": 5,
    "vae": 6,
    "loading": 7,
    "codes": 7,
    "importance": 8,
    "factor": 7,
    "cascade": 7,
    "diagnosis": 8,
    "features": 8,
    "charts": 8,
    "ladders": 8,
    "annealing": 9,
    "restoration": 8,
    "evaluation": 10,
    "pictures": 9,
    "checkpoint_files": 0,
    "model_file": 7,
    "run_state": 7,
    "checkpoints": 8,
    "progress": 8,
    "callbacks": 10,
    "export": 8,
    "config": 9,
    "runs": 11,
    "training": 12,
    "__init__": 99,
}
GROUPS = {"datasets", "export"}


def sources() -> dict[str, ast.Module]:
    paths = [*PACKAGE.glob("*.py"), *PACKAGE.glob("*/*.py")]
    return {".".join(p.relative_to(PACKAGE).with_suffix("").parts): ast.parse(p.read_text("utf-8")) for p in paths}


def imports(tree: ast.Module) -> list[str]:
    """The modules of the package that are imported, at the top or inside functions, without the package's name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in ("keras_vae", "export")]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("keras_vae", "export"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if is_module(name) else node.module for name in names]
    return [name.removeprefix("keras_vae.") for name in found]


def is_module(name: str) -> bool:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def room(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("module, tree", [pytest.param(m, t, id=m) for m, t in sources().items()])
def test_modules_import_only_lower_levels(module, tree):
    assert room(module) in LEVELS, f"give keras_vae.{room(module)} a level"
    for imported in imports(tree):
        assert imported != "keras_vae", f"{module} imports the package root"
        assert room(imported) != "export" or imported.startswith("export"), f"{module} imports a bare export"
        if room(imported) in GROUPS and room(imported) == room(module):
            continue
        assert LEVELS[room(imported)] < LEVELS[room(module)], f"{module} imports {imported}, which is not below it"


def test_there_are_no_circles():
    graph = {module: set(imports(tree)) for module, tree in sources().items() if module != "__init__"}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for imported in graph.get(module, graph.get(f"{module}.__init__", ())):
                visit(imported, (*path, module))
            done.add(module)

    for module in graph:
        visit(module.removesuffix(".__init__"), ())


def test_the_command_line_imports_tensorflow_only_when_there_is_work():
    folder = PACKAGE.parent / "keras_vae_cli"
    for path in folder.glob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & {"keras_vae", "tensorflow", "keras"}, path


def test_all_parts_are_registered_and_documented():
    for kind, parts in catalogue.parts().items():
        for name, part in parts.items():
            made = getattr(importlib.import_module(part.module), name)
            assert made.__doc__
            if kind != "network":  # those are made by functions
                assert keras.saving.get_registered_object(f"keras_vae>{name}") is made
