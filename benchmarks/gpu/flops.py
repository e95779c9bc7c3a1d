"""Floating-point operations of the matrix products and convolutions of a StableHLO program.

They are read from the text, so that every device is measured by the same number: 2 for each multiplication with its
addition. A convolution counts those that touch data, not padding and not the holes of a dilation, as XLA's own cost
analysis does.
"""

import math
import re
from collections.abc import Sequence

FUNCTION = re.compile(r"^\s*func\.func\s+(?:public\s+|private\s+)?@\"?([^\"(]+)\"?\(", re.M)
TYPES = re.compile(r":\s*\(tensor<([^>]*)>,\s*tensor<([^>]*)>\)\s*->\s*tensor<([^>]*)>")
CALL = re.compile(r"\bcall @\"?([^\"(]+)\"?\(")


def count(text: str) -> int:
    """FLOP of one run of the function `main` of a module.

    Raises:
        ValueError: for products inside of a loop, whose number of turns the text does not tell.
    """
    names = FUNCTION.findall(text)
    bodies = dict(zip(names, FUNCTION.split(text)[2::2], strict=True))
    if not any(name == "main" for name in names):
        raise ValueError("the module has no function main")
    return _of_function("main", bodies)


def _of_function(name: str, bodies: dict[str, str]) -> int:
    body, total = bodies[name], 0
    for line in body.splitlines():
        total += _of_operation(line)
        for called in CALL.findall(line):
            total += _of_function(called, bodies)
    if total and "stablehlo.while" in body:
        raise ValueError(f"{name} has a loop, and products that may be in it")
    return total


def _of_operation(line: str) -> int:
    product, convolution = re.search(r"stablehlo\.dot(_general)?\b", line), "stablehlo.convolution" in line
    if not (product or convolution):
        return 0
    left, right, result = map(_shape, TYPES.search(line).groups())
    if product:
        axes = _numbers(r"contracting_dims = \[([^\]]*)\]", line, [len(left) - 1])
        return 2 * math.prod(result) * math.prod(left[axis] for axis in axes)
    return _of_convolution(line, left, right, result)


def _of_convolution(line: str, left: Sequence[int], right: Sequence[int], result: Sequence[int]) -> int:
    of_left, of_right, of_result = (
        [name.strip() for name in part.split(",")]
        for part in re.search(r"\[([^\]]*)\]x\[([^\]]*)\]->\[([^\]]*)\]", line).groups()
    )
    spatial = sorted((name for name in of_left if name.isdigit()), key=int)
    ones = [1] * len(spatial)
    stride, left_dilation, right_dilation = (
        _numbers(rf"\b{name} = \[([^\]]*)\]", line, ones) for name in ("stride", "lhs_dilate", "rhs_dilate")
    )
    found = re.search(r"pad = \[(\[.*?\])\]", line)
    pads = re.findall(r"\[\s*(-?\d+),\s*(-?\d+)\s*\]", found.group(1)) if found else [("0", "0")] * len(spatial)
    touched = 1
    for axis, name in enumerate(spatial):
        size, width = left[of_left.index(name)], right[of_right.index(name)]
        steps, low = result[of_result.index(name)], int(pads[axis][0])
        places = (at * stride[axis] + tap * right_dilation[axis] - low for at in range(steps) for tap in range(width))
        last = (size - 1) * left_dilation[axis]
        touched *= sum(0 <= place <= last and place % left_dilation[axis] == 0 for place in places)
    batch, features = result[of_result.index("b")], result[of_result.index("f")]
    # The kernel's input features, and the result's batch, are those of one group.
    return 2 * touched * batch * features * right[of_right.index("i")]


def _shape(text: str) -> list[int]:
    return [int(size) for size in text.split("x")[:-1]]


def _numbers(pattern: str, line: str, otherwise: list[int]) -> list[int]:
    found = re.search(pattern, line)
    if not found:
        return otherwise
    return [int(number) for number in found.group(1).split(",") if number.strip()]
