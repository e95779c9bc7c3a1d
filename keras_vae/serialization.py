"""Configs derived from constructors, so that no part can forget an argument of its own."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Self, TypeVar

import keras

from keras_vae import internals

# The key of a config that tells which layers are frozen.
FROZEN = "frozen"

Class = TypeVar("Class", bound=type)


def register(cls: Class) -> Class:
    """Register a class with Keras under the name of its top-level package.

    `keras.saving.load_model` then finds it without `custom_objects`. For classes of your own, derived from
    any part of this package:

        @kv.register
        class Laplace(likelihoods.Likelihood):
            ...
    """
    package = cls.__module__.partition(".")[0]
    registered: Class = keras.saving.register_keras_serializable(package=package)(cls)
    return registered


class Serializable:
    """`get_config` and `from_config` made from the arguments that the constructor was called with.

    The values may be anything that Keras serialises: numbers, strings, lists, layers, models, schedules.
    Keras layers add their `name`, `trainable` and `dtype`, and which of the layers inside are frozen, at any depth:
    most of those are made by `build` and have no config of their own.

    Raises:
        TypeError: from the constructor, if it takes positional-only or `*args` parameters, which a config
            cannot name.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Record the constructor's arguments before the constructor runs."""
        parent_new = super().__new__
        instance = parent_new(cls) if parent_new is object.__new__ else parent_new(cls, *args, **kwargs)
        # A dunder name in the instance's own dict keeps Keras from tracking and saving the arguments as state.
        vars(instance)["__arguments__"] = _named_arguments(cls, args, kwargs)
        if isinstance(instance, keras.Layer):
            vars(instance)["build"] = _keeping_frozen(instance, instance.build)
        return instance

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as JSON-ready values, for `from_config`."""
        inherited = super().get_config() if isinstance(self, keras.Layer) else {}  # type: ignore[misc]
        arguments = vars(self)["__arguments__"]
        own = {name: keras.saving.serialize_keras_object(value) for name, value in arguments.items()}
        return {**own, **inherited, **_frozen(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """An instance with the arguments of `config`; its weights, if any, are new, and frozen where they were."""
        arguments = dict(config)
        frozen = arguments.pop(FROZEN, None)
        made = cls(**{name: keras.saving.deserialize_keras_object(value) for name, value in arguments.items()})
        if frozen is not None:
            vars(made)["__frozen__"] = frozen
            if not frozen["built"]:
                _freeze(made)
        return made


def _keeping_frozen(layer: keras.Layer, build: Callable[..., None]) -> Callable[..., None]:
    """`build` of a layer; what it makes inside of a frozen layer is frozen, and so is what was when it was saved."""

    @functools.wraps(build)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        before = {id(inner): inner.trainable for inner in internals.layers_of(layer)}
        build(*args, **kwargs)
        if not layer.trainable:
            for inner in internals.layers_of(layer):
                internals.set_trainable(inner, before.get(id(inner), False))
        _freeze(layer)

    return wrapper


def _frozen(part: Any) -> dict[str, Any]:
    """Which layers of a part are frozen, by their numbers in the order of all; nothing if none is."""
    layers = internals.layers_of(part) if isinstance(part, keras.Layer) else []
    numbers = [number for number, layer in enumerate(layers) if not layer.trainable]
    return {FROZEN: {"built": part.built, "layers": numbers, "of": len(layers)}} if numbers else {}


def _freeze(part: keras.Layer) -> None:
    """Freeze the layers that a config names, if it is one of this part."""
    frozen = vars(part).pop("__frozen__", None)
    if frozen is None:
        return
    layers = internals.layers_of(part)
    if len(layers) != frozen["of"]:
        raise ValueError(
            f"The config of {type(part).__name__} freezes some of {frozen['of']} layers, and here it has "
            f"{len(layers)}: it was written by another version."
        )
    for number, layer in enumerate(layers):
        internals.set_trainable(layer, number not in frozen["layers"])


def _named_arguments(cls: type, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    constructor = cls.__init__  # type: ignore[misc]
    signature = inspect.signature(constructor)
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL) and parameter.name != "self":
            if constructor is object.__init__:
                return {}
            raise TypeError(
                f"{cls.__name__}.__init__ takes {parameter}, which a config cannot name: "
                "use parameters that can be passed by keyword."
            )
    try:
        bound = signature.bind(None, *args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{cls.__name__}(): {error}") from None
    bound.apply_defaults()
    named = dict(list(bound.arguments.items())[1:])
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            named.update(named.pop(parameter.name, {}))
    return named
