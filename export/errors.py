"""What an export refuses, and why."""

import re
from collections.abc import Iterable

# What the converter says of an operation, and those of matrices, which LiteRT does not have.
_LACKING = re.compile(r"'tf\.(\w+)' op is neither")
_OF_MATRICES = re.compile(r"Matrix(DiagPart|TriangularSolve|Solve|Inverse)|Cholesky|^Qr$|SelfAdjointEig|^Svd$")
# LiteRT has these, of float32.
_OF_WIDTH = {"AddV2", "ConcatV2", "Mul", "Sub", "Neg", "Square", "Sum", "BatchMatMulV2", "MatMul", "RealDiv", "Log"}


def of_matrices(names: Iterable[str]) -> list[str]:
    """Those of these operations that factor or solve matrices, each once."""
    return sorted({name for name in names if _OF_MATRICES.search(name)})


def lacking(reason: object) -> str | None:
    """What TFLite's builtin ops lack by the words of its converter, in a sentence; None if they say nothing of it."""
    names = sorted(set(_LACKING.findall(str(reason))))
    if not names:
        return None
    if factors := of_matrices(names):
        return (
            f"it takes a full matrix apart, for which builtin ops have no {', '.join(factors)}: use the SavedModel, or "
            "train with a diagonal posterior"
        )
    if _OF_WIDTH.intersection(names):
        return "it computes in float64, and builtin ops in float32 alone: use the SavedModel"
    return f"builtin ops have no {', '.join(names)}"


class ExportError(ValueError):
    """The export did not happen and left nothing behind; the message says why and what to do."""


class TargetError(ExportError, FileExistsError):
    """Something that must not be overwritten stands where the export was to be written."""


class VerificationError(ExportError):
    """An exported file failed checks; ``report`` holds every check with what it found."""

    def __init__(self, message: str, report: object = None):
        super().__init__(message)
        self.report = report
