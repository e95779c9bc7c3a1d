"""The parts that a config can name: their arguments, and what they are."""

import ast
import json
import textwrap

from keras_vae_cli import catalogue, hints, own_parts
from keras_vae_cli.errors import ConfigError

# Where in a config the parts of a kind are named.
PLACES: dict[catalogue.Kind, str] = {
    "posterior": "model.posterior, model.level_posterior",
    "prior": "model.prior",
    "likelihood": "model.likelihood",
    "objective": "model.objective",
    "network": "model.encoder, model.decoder, model.guide",
    "schedule": "of kl_weight, capacity and other weights",
    "vae": "model.vae",
}
WIDTH = 116


def listed(name: str | None = None) -> str:
    """All parts, those of a kind, or all that is known of one.

    Args:
        name: of a kind, such as "prior", or of a part; of one of the user's own, as "mine:StudentT".

    Raises:
        ConfigError: if nothing has this name, with what may have been meant.
    """
    known = catalogue.parts()
    if name is None:
        return "\n\n".join(_kind(kind) for kind in catalogue.KINDS)
    name = catalogue.other_names().get(name, name)
    kinds = {word: kind for kind in catalogue.KINDS for word in (kind, f"{kind}s")}
    if name.lower() in kinds:
        return _kind(kinds[name.lower()])
    if own_parts.is_own(name):
        return _whole(_own(name))
    found = [parts[name] for parts in known.values() if name in parts]
    if found:
        return "\n\n".join(map(_whole, found))
    near = hints.meant(name, [*kinds, *(part for parts in known.values() for part in parts)])
    guess = f" Did you mean {near}?" if near else ""
    raise ConfigError(f"No part and no kind of parts is called {name!r}.{guess} The kinds are {', '.join(known)}.")


def _own(name: str) -> catalogue.Part:
    error: ValueError | None = None
    for kind in catalogue.KINDS:
        try:
            return own_parts.find(kind, name)
        except ValueError as found:
            error = found
            if " and a " not in str(found):  # of no kind at all
                break
    raise ConfigError(f"{error}.")


def _kind(kind: catalogue.Kind) -> str:
    parts = [_short(part) for part in catalogue.parts()[kind].values()]
    return "\n".join([f"{kind} ({PLACES[kind]})", *parts])


def _short(part: catalogue.Part) -> str:
    line = textwrap.fill(part.line, WIDTH, initial_indent="      ", subsequent_indent="      ")
    return f"  {_call(part)}\n{line}"


def _call(part: catalogue.Part) -> str:
    return f"{part.name}({', '.join(_argument(a) for a in part.given)})"


def _argument(argument: catalogue.Argument) -> str:
    return argument.name if argument.required else f"{argument.name}={argument.default}"


def _as_yaml(default: str) -> str:
    """A default as it would stand in a config."""
    try:
        return json.dumps(ast.literal_eval(default)).replace('"', "")
    except (ValueError, SyntaxError, TypeError):
        return default


def _whole(part: catalogue.Part) -> str:
    """Its call, its place in a config, and its docstring."""
    inner = ", ".join(f"{a.name}: {'...' if a.required else _as_yaml(a.default or '')}" for a in part.given)
    config = f"{{name: {part.name}{', ' if inner else ''}{inner}}}"
    place = PLACES[part.kind].partition(",")[0]
    example = f"In a config: {place}: {config}" if "." in place else f"In a config: {config}, {PLACES[part.kind]}"
    text = textwrap.dedent(part.text).strip()
    return f"{_call(part)}   a {part.kind}, of {part.module}\n{example}\n\n{textwrap.indent(text, '  ')}"
