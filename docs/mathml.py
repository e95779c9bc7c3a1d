"""Formulas as MathML, which browsers draw themselves: nothing is fetched, neither by who builds nor by who reads."""

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml

# `log p` and not `logp`: what docutils leaves between a name and its argument is nothing.
NAMES = re.compile(r"\\(log|det|exp|operatorname\{\w+\})(?=\s)")


def mathml(formula: str, as_block: bool = False) -> str:
    """The MathML of TeX."""
    return latex2mathml.tex2mathml(NAMES.sub(r"\\\1\\,", formula.strip()), as_block=as_block)


def inline(translator: Any, node: nodes.math) -> None:
    """A formula in a line."""
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    """A formula in lines of its own."""
    formula = mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="math">{formula}</div>\n')
    raise nodes.SkipNode
