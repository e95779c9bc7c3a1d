"""Formulas as MathML, which browsers draw themselves: nothing is fetched, neither when pages are built nor when read."""

from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml


def inline(translator: Any, node: nodes.math) -> None:
    """A formula in a line."""
    translator.body.append(latex2mathml.tex2mathml(node.astext()))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    """A formula in lines of its own."""
    formula = latex2mathml.tex2mathml(node.astext().strip(), as_block=True)
    translator.body.append(f'<div class="math" style="overflow-x: auto">{formula}</div>\n')
    raise nodes.SkipNode
