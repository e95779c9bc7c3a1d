"""Docstrings as reStructuredText: they are plain text with names in `backticks`, formulas, and indented code."""

import re
from collections.abc import Iterator, Sequence

ITEM = re.compile(r"^(\s*)(?:-|\d+\.) ")
SECTION = re.compile(r"^\s*(?:Args|Attributes|Raises|Returns|Yields|Note|Warning):$")
STARRED = re.compile(r"^(\s*)(\*{1,2}\w+)(: .*)$")
EXAMPLE = re.compile(r"^\s*Examples?:$")
# `latent_dim: L.`, which would be the head of a list.
LETTER = re.compile(r"(^\s*|: )([A-Za-z])\.(?=\s|$)")
# `train, test: the examples` of a section, where Sphinx takes what stands before a space for a type.
SEVERAL = re.compile(r"^(\s+)(\w+(?:, \w+)+)(?=: )")
# A call, and what it is for: code, wherever it stands.
REMARKED = re.compile(r"^\S.*\S {2,}# ")


def as_rest(lines: Sequence[str]) -> list[str]:
    """The lines of a docstring, so that reStructuredText shows what an editor shows."""
    return list(separated(converted(list(lines))))


def converted(lines: list[str]) -> Iterator[str]:
    """Code as literal blocks, all else as text without markup."""
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.strip().startswith("```"):
            end = next((i for i in range(at + 1, len(lines)) if lines[i].strip() == "```"), len(lines))
            yield from literal(lines[at + 1 : end], indent_of(line))
            at = end + 1
        elif REMARKED.match(line) and not line.endswith(":"):
            end = next((i for i in range(at, len(lines)) if not lines[i].strip()), len(lines))
            yield from literal(lines[at:end], indent_of(line))
            at = end
        elif begins_block(lines, at) or EXAMPLE.match(line):
            yield text(line.replace("Example:", "For example:").replace("Examples:", "For example:"))
            end = at + 1
            while end < len(lines) and (not lines[end].strip() or indent_of(lines[end]) > indent_of(line)):
                end += 1
            yield from literal(lines[at + 1 : end], indent_of(line))
            at = end
        else:
            yield text(line)
            at += 1


def begins_block(lines: list[str], at: int) -> bool:
    """Whether a text ends here, and lines further to the right follow after an empty one: code, or a formula."""
    if at + 2 >= len(lines) or lines[at + 1].strip() or not lines[at].strip() or SECTION.match(lines[at]):
        return False
    return bool(lines[at + 2].strip()) and indent_of(lines[at + 2]) >= indent_of(lines[at]) + 4


def literal(block: list[str], indent: int) -> Iterator[str]:
    """A literal block, at the indentation of the text that it belongs to."""
    while block and not block[0].strip():
        block = block[1:]
    while block and not block[-1].strip():
        block = block[:-1]
    least = min((indent_of(line) for line in block if line.strip()), default=0)
    space = " " * indent
    yield from ("", f"{space}::", "")
    yield from (f"{space}    {line[least:]}" if line.strip() else "" for line in block)
    yield ""


def text(line: str) -> str:
    """A line whose stars and bars mean themselves, and whose names in backticks are code."""
    if starred := STARRED.match(line):
        return starred[1] + starred[2] + text(starred[3])
    line = SEVERAL.sub(lambda found: found[1] + found[2].replace(", ", ","), line)
    pieces = re.split(r"(`[^`]+`)", line)
    for i, piece in enumerate(pieces):
        if i % 2:
            joined = "\\ " if pieces[i + 1][:1].isalnum() else ""
            before = "\\ " if pieces[i - 1][-1:].isalnum() else ""
            pieces[i] = f"{before}`{piece}`{joined}"
        else:
            piece = piece.replace("\\", "\\\\")
            piece = re.sub(r"([*|`])", r"\\\1", re.sub(r"_(?=\W|$)", r"\\_", piece))
            pieces[i] = LETTER.sub(r"\1\2\\.", piece)
    return "".join(pieces)


def separated(lines: Iterator[str]) -> Iterator[str]:
    """Lists stand between empty lines."""
    item, above = None, ""
    for line in lines:
        found = ITEM.match(line)
        if found:
            starts = item is None or len(found[1]) != item
            if starts and above.strip() and not SECTION.match(above):
                yield ""
            item = len(found[1])
        elif item is not None and line.strip() and indent_of(line) <= item:
            if above.strip():
                yield ""
            item = None
        yield line
        above = line


def indent_of(line: str) -> int:
    """How far to the right a line begins."""
    return len(line) - len(line.lstrip())
