"""A static look at an exported graph: what must not be in it, whatever it computes."""

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import graph_pb2, node_def_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from keras_vae.export.proof.permitted import refused
from keras_vae.export.proof.report import HARMLESS, Check
from keras_vae.export.proof.run_saved_model import DTYPES

_RANDOM = re.compile(
    r"^(Random(?!IndexShuffle)\w+|TruncatedNormal|ParameterizedTruncatedNormal|Multinomial|NonDeterministicInts"
    r"|Stateful(StandardNormal|Uniform|TruncatedNormal|Random)\w*|Rng\w+|\w*RandomSeedGenerator)$"
)
_PYTHON = re.compile(r"^(Eager)?PyFunc(Stateless)?$")
_ASSERT = re.compile(r"^(Assert|CheckNumerics(V2)?|Abort)$")
_ASSIGN = re.compile(r"^(Assign\w*|Resource(Apply|Scatter)\w+)$")
_XLA = re.compile(r"^Xla\w+$")
_HALF = {types_pb2.DT_HALF, types_pb2.DT_BFLOAT16}
# Not after another path component, nor after the scheme of s3:// and its like.
_ABSOLUTE_PATH = re.compile(r"(?<![\w.:/^-])(/[\w.-]+){2,}|(?<!\w)[A-Za-z]:\\\w")
_INITIALISERS = re.compile(r"^__inference__(traced_save|traced_restore|initializer|creator|destroyer)")


def faults(graph: graph_pb2.GraphDef) -> dict[str, list[str]]:
    """What must not be in a graph, by kind: each kind has the offending operations, usually none."""
    nodes = list(_nodes(graph))
    return {
        "no random state": _named(nodes, _RANDOM),
        "no Python function": _named(nodes, _PYTHON),
        "no assertion": _named(nodes, _ASSERT),
        "no assignment to a variable": _named(nodes, _ASSIGN),
        "no XLA": _named(nodes, _XLA) + _compiled(graph, nodes),
        "no half precision": sorted({f"{node.op} {node.name}" for node in nodes if _is_half(node)})[:5],
    }


def check_graph(directory: Path, model: saved_model_pb2.SavedModel) -> list[Check]:
    """The static checks of a SavedModel; that of its operations is the first."""
    dangers = refused(model)
    detail = f"not run, since it has {_few(dangers)}" if dangers else ""
    harmless = Check(HARMLESS, not dangers, detail)
    graphs = [graph for graph in model.meta_graphs if list(graph.meta_info_def.tags) == ["serve"]]
    if len(graphs) != 1:
        return [harmless, Check("file", False, "there is no single graph with the tag `serve`")]
    graph = graphs[0]
    found = faults(_without_checkpointing(graph.graph_def))
    checks = [harmless]
    checks += [Check(name, not names, f"the graph has {_few(names)}" if names else "") for name, names in found.items()]
    paths = sorted({text for text in _strings(model) if text.isprintable() and _ABSOLUTE_PATH.search(text)})
    checks.append(Check("no absolute path", not paths, f"the file mentions {_few(paths)}" if paths else ""))
    return [*checks, _check_weights(directory, graph), _check_signatures(graph)]


def read_signatures(model: saved_model_pb2.SavedModel) -> dict[str, Any]:
    """The signatures as a fresh process reports them: name -> (inputs, outputs), each name -> (dtype, shape).

    Raises:
        ValueError: there is no graph with the tag `serve`, or an input is of unknown rank.
    """
    graphs = [graph for graph in model.meta_graphs if "serve" in graph.meta_info_def.tags]
    if not graphs:
        raise ValueError("there is no graph with the tag `serve`")
    signatures = {}
    for name, definition in sorted(served(graphs[0]).items()):
        both = (definition.inputs, definition.outputs)
        sides = [{key: _tensor_info(info) for key, info in side.items()} for side in both]
        if any(not shape for _, shape in sides[0].values()):
            raise ValueError(f"an input of {name} has no dimension for the rows")
        signatures[name] = tuple(sides)
    return signatures


def served(graph: meta_graph_pb2.MetaGraphDef) -> dict[str, meta_graph_pb2.SignatureDef]:
    """The signatures of a graph, by name, without the step that initialises it."""
    return {name: signature for name, signature in graph.signature_def.items() if name != "__saved_model_init_op"}


def declared_bytes(model: saved_model_pb2.SavedModel) -> int:
    """Bytes of all constants of a SavedModel; a single number in the file can stand for all of a constant."""
    nodes = [node for graph in model.meta_graphs for node in _nodes(graph.graph_def) if node.op == "Const"]
    tensors = [node.attr["value"].tensor for node in nodes]
    return sum(
        math.prod(max(0, axis.size) for axis in tensor.tensor_shape.dim) * _size(tensor.dtype) for tensor in tensors
    )


def _size(number: int) -> int:
    """Bytes of a number of a type of TensorFlow; 8 where a type has none."""
    try:
        return int(tf.dtypes.as_dtype(number).size) or 8
    except TypeError:
        return 8


def _tensor_info(info: meta_graph_pb2.TensorInfo) -> tuple[str, list[int | None] | None]:
    shape = [None if axis.size < 0 else axis.size for axis in info.tensor_shape.dim]
    return DTYPES.get(info.dtype, str(info.dtype)), None if info.tensor_shape.unknown_rank else shape


def _check_weights(directory: Path, graph: meta_graph_pb2.MetaGraphDef) -> Check:
    """One handle per weight, one place in the checkpoint per handle.

    A model that a ``tf.Module`` tracks is saved with two handles per weight, only one of which is restored by the C++
    loader; Python's loader hides it.
    """
    handles = [node for node in graph.graph_def.node if node.op == "VarHandleOp"]
    if not handles:
        return Check("weights", True, "none outside the graph")
    prefix = directory / "variables" / "variables"
    if not prefix.with_suffix(".index").exists():
        return Check("weights", False, f"{prefix.parent} holds no checkpoint: the model loads and fails when it is run")
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        declared = sum(math.prod(shapes[key]) * _size(dtypes[key].as_datatype_enum) for key in shapes)
        held = sum(file.stat().st_size for file in prefix.parent.glob(f"{prefix.name}.data-*"))
        if declared > held + 8 * len(shapes):
            return Check("weights", False, f"the checkpoint declares {declared:,} bytes of weights and holds {held:,}")
        broken = [key for key in shapes if dtypes[key].is_floating and not np.isfinite(reader.get_tensor(key)).all()]
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        return Check("weights", False, f"the checkpoint cannot be read: {error}")
    stored = sorted((tuple(shapes[key]), dtypes[key].as_datatype_enum) for key in shapes if dtypes[key] != tf.string)
    wanted = sorted((tuple(d.size for d in h.attr["shape"].shape.dim), h.attr["dtype"].type) for h in handles)
    if stored != wanted:
        return Check(
            "weights",
            False,
            f"{len(handles)} variable handles, but {len(stored)} stored weights: the C++ loader restores one handle of "
            "each weight (save a bare tf.Module that owns the raw tf.Variables)",
        )
    if broken:
        return Check("weights", False, f"{len(broken)} stored weights hold NaN or infinity")
    return Check("weights", True, f"{len(handles)} handles, each restored from one stored weight")


def _check_signatures(graph: meta_graph_pb2.MetaGraphDef) -> Check:
    signatures = served(graph)
    if "serving_default" not in signatures:
        return Check("signatures", False, f"there is no `serving_default`, only {sorted(signatures)}")
    fixed = [
        f"{signature}.{name}"
        for signature, definition in sorted(signatures.items())
        for side in (definition.inputs, definition.outputs)
        for name, info in sorted(side.items())
        if not info.tensor_shape.dim or info.tensor_shape.dim[0].size != -1
    ]
    if fixed:
        return Check("signatures", False, f"the first dimension is not free in {_few(fixed)}")
    return Check("signatures", True, ", ".join(sorted(signatures)))


def _nodes(graph: graph_pb2.GraphDef) -> Iterator[node_def_pb2.NodeDef]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _without_checkpointing(graph: graph_pb2.GraphDef) -> graph_pb2.GraphDef:
    """The graph without the functions that save and restore, which assign to variables by their nature."""
    copy = graph_pb2.GraphDef()
    copy.CopyFrom(graph)
    kept = [f for f in graph.library.function if not _INITIALISERS.match(f.signature.name)]
    del copy.library.function[:]
    copy.library.function.extend(kept)
    return copy


def _named(nodes: Iterable[node_def_pb2.NodeDef], pattern: re.Pattern[str]) -> list[str]:
    return sorted({node.op for node in nodes if pattern.match(node.op)})


def _compiled(graph: graph_pb2.GraphDef, nodes: Iterable[node_def_pb2.NodeDef]) -> list[str]:
    marked = [(f.signature.name, f.attr) for f in graph.library.function] + [(n.name, n.attr) for n in nodes]
    return sorted({f"jit_compile in {name}" for name, attr in marked if attr["_XlaMustCompile"].b})


def _is_half(node: node_def_pb2.NodeDef) -> bool:
    return any(a.type in _HALF or _HALF.intersection(a.list.type) for a in node.attr.values())


def _strings(model: saved_model_pb2.SavedModel) -> Iterator[str]:
    for graph in model.meta_graphs:
        for node in _nodes(graph.graph_def):
            yield node.name
            for attribute in node.attr.values():
                yield from (text.decode(errors="replace") for text in (attribute.s, *attribute.list.s))
                yield from (text.decode(errors="replace") for text in attribute.tensor.string_val)
        for function in graph.graph_def.library.function:
            for argument in function.arg_attr.values():
                yield from (value.s.decode(errors="replace") for value in argument.attr.values())
        for asset in graph.asset_file_def:
            yield asset.filename


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
