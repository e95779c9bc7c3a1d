"""Which operations a SavedModel of any origin may hold if it is to be run here: a list of what is allowed.

TensorFlow's own flag is no such list: `ReadFile`, `MatchingFiles`, `ImmutableConst` and `PyFuncStateless` are stateless
there. So the list names families: mathematics, arrays, layers, pictures that are tensors, text that is a tensor,
randomness, control flow, variables, and tables that are filled from tensors. Left out, whatever they would do, are all
that open files or sockets, call Python or other processes, print, end the process, read data sets, decode formats of
files, or hold code for a compiler; and all that are not known here.

A saved model must be able to restore its weights. `RestoreV2`, `SaveV2` and `MergeV2Checkpoints` are allowed where the
name of their file is the one that the loader itself fills in, and the latter two where nothing that is loaded or served
leads to them.
"""

import re
from collections.abc import Iterator, Mapping

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

_MATHEMATICS = """
    Abs Acos Acosh Add AddN AddV2 All Angle Any ApproximateEqual ArgMax ArgMin Asin Asinh Atan Atan2 Atanh
    BandedTriangularSolve BatchMatMul BatchMatMulV2 BatchMatMulV3 BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0
    BesselJ1 BesselK0 BesselK0e BesselK1 BesselK1e BesselY0 BesselY1 Betainc Bincount BitwiseAnd BitwiseOr
    BitwiseXor Bucketize Cast Ceil Cholesky CholeskyGrad ClipByValue Complex ComplexAbs Conj Cos Cosh Cross Cumprod
    Cumsum CumulativeLogsumexp Dawsn DenseBincount Digamma Div DivNoNan Eig Einsum Equal Erf Erfc Erfinv
    EuclideanNorm Exp Expint Expm1 FFT FFT2D FFT3D FFTND Floor FloorDiv FloorMod FresnelCos FresnelSin Greater
    GreaterEqual HistogramFixedWidth IFFT IFFT2D IFFT3D IFFTND Igamma Igammac IgammaGradA Imag Inv Invert IRFFT
    IRFFT2D IRFFT3D IRFFTND IsFinite IsInf IsNan LeftShift Less LessEqual Lgamma LinSpace Log Log1p LogicalAnd
    LogicalNot LogicalOr LogMatrixDeterminant LowerBound Lu MatMul MatrixDeterminant MatrixExponential
    MatrixInverse MatrixLogarithm MatrixSolve MatrixSolveLs MatrixSquareRoot MatrixTriangularSolve Max Maximum Mean
    Min Minimum Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual Polygamma PopulationCount Pow Prod Qr Range Real
    RealDiv Reciprocal ReciprocalGrad RFFT RFFT2D RFFT3D RFFTND RightShift Rint Round Rsqrt RsqrtGrad SegmentMax
    SegmentMaxV2 SegmentMean SegmentMin SegmentMinV2 SegmentProd SegmentProdV2 SegmentSum SegmentSumV2
    SelfAdjointEigV2 Sigmoid SigmoidGrad Sign Sin Sinh Spence Sqrt SqrtGrad Square SquaredDifference Sub Sum Svd
    Tan Tanh TanhGrad TridiagonalMatMul TridiagonalSolve TruncateDiv TruncateMod UnsortedSegmentMax
    UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum UpperBound Xdivy Xlog1py Xlogy Zeta
"""
_ARRAYS = """
    _EagerConst ApproxTopK BatchToSpace BatchToSpaceND Bitcast BroadcastArgs BroadcastGradientArgs BroadcastTo
    Concat ConcatOffset ConcatV2 ConjugateTranspose Const DeepCopy DepthToSpace Diag DiagPart DynamicPartition
    DynamicStitch EnsureShape ExpandDims ExtractImagePatches ExtractVolumePatches Fill Gather GatherNd GatherV2
    GuaranteeConst Identity IdentityN InplaceAdd InplaceSub InplaceUpdate InvertPermutation ListDiff MatrixBandPart
    MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiag
    MatrixSetDiagV2 MatrixSetDiagV3 MirrorPad MirrorPadGrad NthElement OneHot OnesLike Pack Pad PadV2
    ParallelConcat ParallelDynamicStitch Placeholder PlaceholderV2 PlaceholderWithDefault PreventGradient
    RaggedBincount RaggedGather RaggedRange RaggedTensorFromVariant RaggedTensorToSparse RaggedTensorToTensor
    RaggedTensorToVariant Rank Reshape Reverse ReverseSequence ReverseV2 Roll ScatterNd ScatterNdNonAliasingAdd
    Select SelectV2 Shape ShapeN Size Slice Snapshot SpaceToBatch SpaceToBatchND SpaceToDepth SparseAdd
    SparseBincount SparseConcat SparseFillEmptyRows SparseReduceMax SparseReduceSum SparseReorder SparseReshape
    SparseSegmentMean SparseSegmentMeanWithNumSegments SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments
    SparseSegmentSum SparseSegmentSumWithNumSegments SparseSlice SparseSoftmax SparseTensorDenseAdd
    SparseTensorDenseMatMul SparseToDense Split SplitV Squeeze StopGradient StridedSlice StridedSliceGrad
    TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate
    TensorStridedSliceUpdate Tile TopK TopKV2 Transpose Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 Unpack
    UnravelIndex Where ZerosLike
"""
_LAYERS = """
    AdjustContrastv2 AdjustHue AdjustSaturation AvgPool AvgPool3D AvgPool3DGrad AvgPoolGrad BiasAdd BiasAddGrad
    BiasAddV1 BlockLSTM BlockLSTMV2 CombinedNonMaxSuppression Conv Conv2D Conv2DBackpropFilter
    Conv2DBackpropFilterV2 Conv2DBackpropInput Conv2DBackpropInputV2 Conv3D Conv3DBackpropFilterV2
    Conv3DBackpropInputV2 CropAndResize CTCGreedyDecoder CTCLoss CTCLossV2 CudnnRNN CudnnRNNV2 CudnnRNNV3
    DataFormatDimMap DataFormatVecPermute DepthwiseConv2dNative DepthwiseConv2dNativeBackpropFilter
    DepthwiseConv2dNativeBackpropInput Dilation2D DrawBoundingBoxesV2 Elu EluGrad ExtractGlimpseV2
    FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel FusedBatchNorm
    FusedBatchNormGrad FusedBatchNormGradV2 FusedBatchNormGradV3 FusedBatchNormV2 FusedBatchNormV3 GRUBlockCell
    HSVToRGB ImageProjectiveTransformV2 ImageProjectiveTransformV3 InTopK InTopKV2 IsotonicRegression L2Loss
    LeakyRelu LeakyReluGrad LogSoftmax LRN LSTMBlockCell MaxPool MaxPool3D MaxPool3DGrad MaxPoolGrad MaxPoolV2
    MaxPoolWithArgmax NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4
    NonMaxSuppressionV5 QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 Relu Relu6
    Relu6Grad ReluGrad ResizeArea ResizeBicubic ResizeBilinear ResizeBilinearGrad ResizeNearestNeighbor
    ResizeNearestNeighborGrad RGBToHSV SampleDistortedBoundingBoxV2 ScaleAndTranslate Selu SeluGrad Softmax
    SoftmaxCrossEntropyWithLogits Softplus SoftplusGrad Softsign SoftsignGrad SparseSoftmaxCrossEntropyWithLogits
    StatelessSampleDistortedBoundingBox
"""
_TEXT = """
    AsString DecodeRaw Fingerprint ReduceJoin RegexFullMatch RegexReplace ShardedFilename StaticRegexFullMatch
    StaticRegexReplace StringFormat StringJoin StringLength StringLower StringNGrams StringSplit StringSplitV2
    StringStrip StringToHashBucket StringToHashBucketFast StringToHashBucketStrong StringToNumber StringUpper
    Substr UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode UnicodeScript UnicodeTranscode UnsortedSegmentJoin
"""
_RANDOMNESS = """
    Multinomial NonDeterministicInts ParameterizedTruncatedNormal RandomGamma RandomGammaGrad RandomIndexShuffle
    RandomPoisson RandomPoissonV2 RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt RngReadAndSkip
    RngSkip StatefulRandomBinomial StatefulStandardNormal StatefulStandardNormalV2 StatefulTruncatedNormal
    StatefulUniform StatefulUniformFullInt StatefulUniformInt StatelessMultinomial
    StatelessParameterizedTruncatedNormal StatelessRandomBinomial StatelessRandomGammaV2 StatelessRandomGammaV3
    StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
    StatelessRandomNormalV2 StatelessRandomPoisson StatelessRandomUniform StatelessRandomUniformFullInt
    StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2
    StatelessShuffle StatelessTruncatedNormal StatelessTruncatedNormalV2 TruncatedNormal
"""
_CONTROL = """
    Assert Case CheckNumerics CheckNumericsV2 ControlTrigger EmptyTensorList Enter Exit FakeParam If LoopCond Merge
    NextIteration NoOp PartitionedCall StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile Switch
    TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3
    TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3 TensorListConcat TensorListConcatLists
    TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem
    TensorListLength TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListScatter
    TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack ToBool
    While
"""
_VARIABLES = """
    AnonymousHashTable AnonymousMutableDenseHashTable AnonymousMutableHashTable AnonymousMutableHashTableOfTensors
    Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp DestroyResourceOp
    DisableCopyOnRead HashTableV2 InitializeTableV2 IsVariableInitialized LookupTableExportV2 LookupTableFindV2
    LookupTableImportV2 LookupTableInsertV2 LookupTableRemoveV2 LookupTableSizeV2 MutableDenseHashTableV2
    MutableHashTableOfTensorsV2 MutableHashTableV2 ReadVariableOp ResourceGather ResourceGatherNd
    ResourceScatterAdd ResourceScatterDiv ResourceScatterMax ResourceScatterMin ResourceScatterMul
    ResourceScatterNdAdd ResourceScatterNdSub ResourceScatterNdUpdate ResourceScatterSub ResourceScatterUpdate
    ResourceStridedSliceAssign VarHandleOp Variable VariableShape VariableV2 VarIsInitializedOp
"""
OPERATIONS = frozenset(" ".join((_MATHEMATICS, _ARRAYS, _LAYERS, _TEXT, _RANDOMNESS, _CONTROL, _VARIABLES)).split())
# Those of checkpoints, with the places among their inputs that name files.
_CHECKPOINTING = {"RestoreV2": (0,), "SaveV2": (0,), "MergeV2Checkpoints": (0, 1)}
# What TensorFlow's savers put behind the name that they are given, and what those of version 1 have by default.
_SUFFIX = re.compile(r"\.part|_temp(_[0-9a-f]{32})?/part")
_DEFAULT = [b"model"]
_LOADER, _UNKNOWN = "<the loader's>", "<unknown>"
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_MAIN = ""
Place = tuple[str, str]  # the name of a function, or none for the graph itself, and a node or an input in it


def refused(model: saved_model_pb2.SavedModel) -> list[str]:
    """What a SavedModel holds that is not run here, each with its place; nothing of it is run to find out.

    All graphs and all functions are looked at, used or not.
    """
    return sorted({text for graph in model.meta_graphs for text in _Graph(graph).refused()})


class _Graph:
    """One graph of a SavedModel with its functions."""

    def __init__(self, graph: meta_graph_pb2.MetaGraphDef):
        self._graph = graph
        self._arguments = {
            function.signature.name: [argument.name for argument in function.signature.input_arg]
            for function in graph.graph_def.library.function
        }
        self._nodes: dict[str, dict[str, node_def_pb2.NodeDef]] = {name: {} for name in (_MAIN, *self._arguments)}
        self._twice: list[str] = []
        # Who refers to a function, and whether by a call with its inputs and nothing else.
        self._callers: dict[str, list[tuple[Place, bool]]] = {name: [] for name in self._arguments}
        for (function, name), node in self._all():
            if name in self._nodes[function] or name in self._arguments.get(function, ()):
                self._twice.append(f"two nodes {name}")
            self._nodes[function][name] = node
            for called in (*_called(node.attr), node.op):
                self._callers.setdefault(called, []).append(((function, name), node.op in (*_CALLS, called)))

    def _all(self) -> Iterator[tuple[Place, node_def_pb2.NodeDef]]:
        for node in self._graph.graph_def.node:
            yield (_MAIN, node.name), node
        for function in self._graph.graph_def.library.function:
            for node in function.node_def:
                yield (function.signature.name, node.name), node

    def refused(self) -> Iterator[str]:
        """Every operation that is not allowed, with its place."""
        served = self._served()
        for name in self._arguments:
            # An operation of that name would be taken for a call of it.
            if name in OPERATIONS or hasattr(tf.raw_ops, name):
                yield f"a function {name} with the name of an operation"
        for (function, name), node in self._all():
            where = f"({name} in the function {function})" if function else f"({name})"
            if node.op in _CHECKPOINTING:
                if not self._is_the_savers(function, node):
                    yield f"{node.op} {where} of files that are not this model's own"
                elif node.op != "RestoreV2" and (function or name) in served:
                    yield f"{node.op} {where} where the model is loaded or served"
            elif node.op not in OPERATIONS and node.op not in self._arguments:
                yield f"{node.op} {where}"
            for called in _called(node.attr):
                if called not in self._arguments:
                    yield f"{node.op} {where} of a function {called} that the file does not have"
        yield from self._twice

    def _is_the_savers(self, function: str, node: node_def_pb2.NodeDef) -> bool:
        """Whether an operation of checkpoints gets the names of its files from the loader alone."""
        to_save = node.op != "RestoreV2"
        for index in _CHECKPOINTING[node.op]:
            found = self._origins((function, node.input[index]), to_save) if index < len(node.input) else set()
            if {text for text in found if not (to_save and _SUFFIX.fullmatch(text))} != {_LOADER}:
                return False
        return True

    def _origins(self, start: Place, may_join: bool) -> set[str]:
        """The constants that a text is made of, with marks for the loader's own and for what is not known."""
        found, waiting, seen = set(), [start], set()
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            scope, name = place[0], place[1].partition(":")[0]
            node = self._nodes[scope].get(name)
            if name in self._arguments.get(scope, ()):
                given = self._given(scope, self._arguments[scope].index(name))
                waiting += given
                found |= set() if given else {_UNKNOWN}
            elif node is None:
                found.add(_UNKNOWN)
            elif scope == _MAIN and name == _name(self._graph.saver_def.filename_tensor_name):
                found.add(_LOADER if self._is_filled_in(node) else _UNKNOWN)
            elif node.op == "Identity":
                waiting += [(scope, text) for text in node.input[:1]]
            elif may_join and node.op == "Const" and node.attr["value"].tensor.string_val:
                found |= {text.decode(errors="replace") for text in node.attr["value"].tensor.string_val}
            elif may_join and node.op == "ShardedFilename":
                waiting += [(scope, text) for text in node.input[:1]]
            elif may_join and (node.op in ("Pack", "Select") or (node.op == "StringJoin" and not _separator(node))):
                texts = node.input[1:] if node.op == "Select" else node.input
                waiting += [(scope, text) for text in texts if not text.startswith("^")]
            else:
                found.add(_UNKNOWN)
        return found

    def _given(self, function: str, index: int) -> list[Place]:
        """What a function is given as an input wherever it is referred to; nothing if that is not known."""
        given = []
        for (scope, name), plain in self._callers[function]:
            inputs = self._nodes[scope][name].input
            if not plain or index >= len(inputs):
                return []
            given.append((scope, inputs[index]))
        return given

    def _is_filled_in(self, node: node_def_pb2.NodeDef | None) -> bool:
        """Whether a node is nothing until the loader fills it in, or by default a plain name in the working folder."""
        for _ in range(3):
            if node is None or node.op != "PlaceholderWithDefault" or not node.input:
                break
            node = self._nodes[_MAIN].get(_name(node.input[0]))
        if node is None:
            return False
        return node.op == "Placeholder" or (node.op == "Const" and node.attr["value"].tensor.string_val == _DEFAULT)

    def _served(self) -> set[str]:
        """The nodes of the graph, and the functions, that something which is loaded or served leads to."""
        targets = [self._graph.saver_def.restore_op_name]
        for collection in self._graph.collection_def.values():
            targets += collection.node_list.value
        for signature in self._graph.signature_def.values():
            targets += [name for info in signature.outputs.values() for name in _names(info)]
        waiting: list[Place] = [(_MAIN, _name(target)) for target in targets]
        found, done = set(), set()
        while waiting:
            place = scope, name = waiting.pop()
            node = self._nodes[scope].get(name)
            if node is None or place in done:
                continue
            done.add(place)
            found.add(scope or name)
            if scope == _MAIN:
                waiting += [(_MAIN, _name(text)) for text in node.input]
            for called in (*_called(node.attr), node.op):
                if called in self._arguments and called not in found:
                    found.add(called)
                    waiting += [(called, inner) for inner in self._nodes[called]]
        return found


def _called(attributes: Mapping[str, attr_value_pb2.AttrValue]) -> Iterator[str]:
    """The names of all functions that the attributes of a node refer to, at any depth."""
    waiting = list(attributes.values())
    while waiting:
        value = waiting.pop()
        for function in (value.func, *value.list.func):
            if function.name:
                yield function.name
                waiting += function.attr.values()


def _separator(node: node_def_pb2.NodeDef) -> bytes:
    separator: bytes = node.attr["separator"].s
    return separator


def _name(tensor: str) -> str:
    """The node that a tensor or a control input belongs to."""
    return tensor.lstrip("^").partition(":")[0]


def _names(info: meta_graph_pb2.TensorInfo) -> list[str]:
    """The tensors that an input or output of a signature consists of."""
    sparse = info.coo_sparse
    names = [info.name, sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name]
    return [*names, *(name for part in info.composite_tensor.components for name in _names(part))]
