"""The directive `.. face:: keras_vae.posteriors`: what a module exports, under the names by which users import it."""

import importlib
import inspect
from types import ModuleType
from typing import Any

from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

# Of models, what Keras gives is in Keras's reference; of parts, what all of them have is at their base class.
INHERITED = {"keras_vae": "Model, Layer"}
# What several modules export is described in the first of these that has it.
FIRST = ("keras_vae.posteriors", "keras_vae.priors", "keras_vae.likelihoods")


def exported_by(module: ModuleType) -> list[str]:
    """The names that a module gives, without modules."""
    own = [name for name, found in vars(module).items() if getattr(found, "__module__", None) == module.__name__]
    names = getattr(module, "__all__", [name for name in own if not name.startswith("_")])
    return [name for name in names if not name.startswith("__") and not inspect.ismodule(getattr(module, name))]


def home_of(found: Any, module: str) -> str:
    """The module in which something is described that `module` exports."""
    others = (other for other in FIRST if any(v is found for v in vars(importlib.import_module(other)).values()))
    return next(others, module)


class Face(SphinxDirective):
    """The docstring of a module, then each name that it exports."""

    required_arguments = 1
    has_content = False

    def run(self) -> list[Any]:
        """The nodes of the classes, functions and constants, in their order."""
        name = self.arguments[0]
        module = importlib.import_module(name)
        lines = [f".. automodule:: {name}", "   :no-members:", ""]
        for exported in exported_by(module):
            found = getattr(module, exported)
            home = home_of(found, name) if inspect.isclass(found) else name
            if home != name:
                lines += [f"``{exported}`` is :class:`{home}.{exported}`."]
            elif inspect.isclass(found):
                # One that is saved under another name would be shown as an alias, without a word.
                path = f"{name}.{exported}" if found.__name__ == exported else f"{found.__module__}.{found.__name__}"
                lines += [] if found.__name__ == exported else [f"``{exported}``, saved as ``{found.__name__}``:", ""]
                lines += [f".. autoclass:: {path}", "   :members:", "   :show-inheritance:"]
                lines += [f"   :inherited-members: {INHERITED[name]}"] if name in INHERITED else []
            else:
                kind = "function" if callable(found) else "data"
                lines += [f".. auto{kind}:: {name}.{exported}"]
            lines.append("")
        return self.parse_text_to_nodes(StringList(lines, source=name))
