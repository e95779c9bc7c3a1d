"""YAML as configs are written in it: nothing is guessed, and nothing grows."""

import re
from typing import Any

import yaml

# Of the values in a config.
MAX_VALUES = 10_000
# Keys whose values are names and paths.
AS_WRITTEN = ("name", "path", "data_dir", "start_from")


class StrictLoader(yaml.SafeLoader):
    """YAML's safe loader, which also reads 1e-3 as a number and refuses a key that is given twice.

    Names and paths stay as they are written, also where they look like a number or a switch; nothing is a date.

    It constructs no Python objects, and refuses aliases that repeat each other into millions of values.
    """

    def get_single_node(self) -> Any:
        """The document, if it is of a sane size with all aliases written out."""
        node = super().get_single_node()
        _written_out(node, {}, set())
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        """The mapping, if no key occurs twice."""
        for key, value in node.value:
            is_plain = isinstance(value, yaml.ScalarNode) and value.style is None
            if is_plain and key.value in AS_WRITTEN and value.tag != "tag:yaml.org,2002:null":
                value.tag = "tag:yaml.org,2002:str"
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _written_out(node: Any, known: dict[int, int], open_: set[int]) -> int:
    """The number of values under a node."""
    if id(node) in known:
        return known[id(node)]
    if id(node) in open_:
        raise yaml.constructor.ConstructorError(None, None, "an alias stands inside what it stands for")
    open_.add(id(node))
    inner = node.value if isinstance(node, yaml.CollectionNode) else []
    size = 1 + sum(
        _written_out(n, known, open_) for item in inner for n in (item if isinstance(item, tuple) else [item])
    )
    if size > MAX_VALUES:
        raise yaml.constructor.ConstructorError(None, None, f"it has more than {MAX_VALUES:,} values", node.start_mark)
    open_.remove(id(node))
    known[id(node)] = size
    return size


StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# YAML 1.1 takes 1e-3 for a word.
StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)
