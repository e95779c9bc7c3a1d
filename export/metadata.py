"""Facts about the model inside a TFLite file, under the metadata name `keras_vae`, as JSON."""

import json
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

NAME = b"keras_vae"
# Bytes per weight, by what `quantization` says.
WIDTHS = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}
_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16
# Builtin by name only: what runs is registered by whoever runs it.
_ELSEWHERE = {"CUSTOM", "DELEGATE", "CALL", "PLACEHOLDER_FOR_GREATER_OP_CODES", "STABLEHLO_CUSTOM_CALL"}
# Of which all others of a score stay in 32 bits.
_PRODUCTS = {"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "BATCH_MATMUL"}


class _Builder(flatbuffers.Builder):
    """Aligns byte vectors as the schema asks for weights (`force_align: 16`), which the Python writer ignores."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        """Starts a vector, of bytes at a multiple of 16."""
        return super().StartVector(elemSize, numElems, _ALIGNMENT if elemSize == 1 else alignment)


def read(model: bytes) -> dict[str, Any]:
    """The facts in a TFLite model, empty if there are none.

    Raises:
        ValueError: what stands there was not written by an export.
    """
    root = schema.Model.GetRootAs(model, 0)
    for index in range(root.MetadataLength()):
        entry = root.Metadata(index)
        if entry.Name() == NAME:
            content: dict[str, Any] = json.loads(root.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
            facts = content if isinstance(content, dict) else {}
            # What they are used for. A number that is a mapping cannot even be looked up.
            weights, width = facts.get("num_weights", 0), facts.get("quantization", "float32")
            if not isinstance(content, dict) or not isinstance(weights, int) or width not in list(WIDTHS):
                raise ValueError(f"the metadata {NAME.decode()} was not written by an export")
            return content
    return {}


def write(model: bytes, facts: dict[str, Any]) -> bytes:
    """The TFLite model with these facts in it, instead of those it may have had."""
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    buffer = schema.BufferT()
    buffer.data = list(json.dumps(facts, sort_keys=True).encode())
    root.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = NAME, len(root.buffers) - 1
    root.metadata = [*(other for other in root.metadata or [] if other.name != NAME), entry]
    builder = _Builder(len(model) + 4096)
    builder.Finish(root.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def outside(model: bytes) -> list[str]:
    """What in a TFLite model is not computed by LiteRT's own builtin kernels from the file itself, by name."""
    root = schema.Model.GetRootAs(model, 0)
    known = {name for name in vars(schema.BuiltinOperator) if not name.startswith("_")} - _ELSEWHERE
    found = sorted(operators(model) - known)
    if root.ExternalBufferGroupsLength() or root.ExternalBuffersLength():
        found.append("weights in other files")
    return found


def signatures(model: bytes) -> list[str]:
    """The names of the signatures of a TFLite model."""
    root = schema.Model.GetRootAs(model, 0)
    return [root.SignatureDefs(i).SignatureKey().decode() for i in range(root.SignatureDefsLength())]


def results(model: bytes, signature: str, products: bool = False) -> set[str]:
    """The names of what the operators of a signature give; those of products with weights where asked."""
    root = schema.Model.GetRootAs(model, 0)
    names, found = _names_of_codes(root), set()
    graphs = {
        definition.SubgraphIndex()
        for definition in map(root.SignatureDefs, range(root.SignatureDefsLength()))
        if definition.SignatureKey().decode() == signature
    }
    for graph in map(root.Subgraphs, graphs):
        for operator in map(graph.Operators, range(graph.OperatorsLength())):
            if products or names[operator.OpcodeIndex()] not in _PRODUCTS:
                found |= {graph.Tensors(int(index)).Name().decode() for index in operator.OutputsAsNumpy()}
    return found


def without_ranges(model: bytes, in_float: set[str]) -> bytes:
    """A calibrated model without the ranges of tensors that these operators give, and without those that are infinite.

    What a product in 8 bits reads keeps its range. A maximum, whose inputs must have one scale, would be given inputs
    in 8 bits though it stays in float32 itself; and log 0, in a branch that is not taken, has no range.
    """
    found = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    names = _names_of_codes(schema.Model.GetRootAs(model, 0))
    for graph in found.subgraphs:
        read = {
            int(index)
            for operator in graph.operators
            if names[operator.opcodeIndex] in _PRODUCTS
            and graph.tensors[operator.outputs[0]].name.decode() not in in_float
            for index in operator.inputs
        }
        for index, tensor in enumerate(graph.tensors):
            is_of_float = tensor.name.decode() in in_float and index not in read
            if tensor.quantization is not None and (is_of_float or not _is_finite(tensor.quantization)):
                tensor.quantization = None
    builder = _Builder(len(model) + 4096)
    builder.Finish(found.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _is_finite(ranges: Any) -> bool:
    return all(np.isfinite(end).all() for end in (ranges.min, ranges.max) if end is not None)


def operators(model: bytes) -> set[str]:
    """The names of all operators used, such as `FULLY_CONNECTED`; those that are not builtin as `CUSTOM name`."""
    root = schema.Model.GetRootAs(model, 0)
    codes = _names_of_codes(root)
    graphs = [root.Subgraphs(index) for index in range(root.SubgraphsLength())]
    return {codes[graph.Operators(i).OpcodeIndex()] for graph in graphs for i in range(graph.OperatorsLength())}


def _names_of_codes(root: Any) -> list[str]:
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    codes = []
    for index in range(root.OperatorCodesLength()):
        code = root.OperatorCodes(index)
        custom = code.CustomCode()
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        codes.append(f"CUSTOM {custom.decode()}" if custom else names.get(number, str(number)))
    return codes
