"""Keras layers as steps that a page knows; others are refused by name."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_vae.explorer.weights import PackedArrays

ACTIVATIONS = (
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "tanh", "sigmoid"),
    *("hard_sigmoid", "softplus", "softsign", "exponential"),
)
# What does nothing when a model is used.
IDLE = (
    keras.layers.Identity,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.InputLayer,
)
Step = dict[str, Any]


class CannotShow(ValueError):
    """A model of which no page can be made."""


def steps_of(layer: Any, weights: PackedArrays) -> list[Step]:
    """The steps of a layer, of layers one after the other, or of an activation.

    Args:
        layer: built.
        weights: where its weights go.

    Raises:
        CannotShow: naming a layer that the page does not know.
    """
    if isinstance(layer, keras.Sequential):
        return [step for each in layer.layers for step in steps_of(each, weights)]
    if hasattr(layer, "steps") and hasattr(layer, "joined"):
        return _conditioned(layer, weights)
    if hasattr(layer, "branches"):
        join, branches = layer.branches()
        made = [[step for each in branch for step in steps_of(each, weights)] for branch in branches]
        return [{"layer": "branches", "join": join, "branches": made}]
    if isinstance(layer, IDLE):
        return []
    for kind, convert in KNOWN.items():
        # A subclass may compute something else.
        if type(layer) is kind:
            return convert(layer, weights)
    if not isinstance(layer, keras.Layer) and callable(layer):
        return [{"layer": "activation", "activation": activation_of(layer, "an activation")}]
    raise CannotShow(
        f"The page has no layer {type(layer).__name__} ({layer.name}): it knows those of the recipes of "
        "keras_vae.networks but for images as conditions, and of Keras "
        f"{', '.join(sorted(kind.__name__ for kind in KNOWN))}, one after the other."
    )


def activation_of(function: Any, where: str) -> str:
    """The name of an activation.

    Raises:
        CannotShow: for one that the page does not know.
    """
    name = getattr(function, "__name__", type(function).__name__)
    # One of a user's own may be called as one of Keras's, and be none.
    if name in ACTIVATIONS and keras.activations.get(name) is function:
        return name
    raise CannotShow(f"The page has no activation {name} ({where}): it knows {', '.join(ACTIVATIONS)}.")


def _conditioned(body: Any, weights: PackedArrays) -> list[Step]:
    if body.looks or body.mixing is not None:
        raise CannotShow("The page cannot condition on an image, as this model's ConditionedBody does.")
    steps: list[Step] = []
    for layer, joined in zip(body.steps, body.joined, strict=True):
        steps += [{"layer": "join"}] * bool(joined)
        steps += steps_of(layer, weights)
    return steps


def _projection(name: str) -> Callable[[Any, PackedArrays], list[Step]]:
    def convert(layer: Any, weights: PackedArrays) -> list[Step]:
        step = {"layer": name, "kernel": weights.add(layer.kernel), "bias": None}
        if layer.use_bias:
            step["bias"] = weights.add(layer.bias)
        return [step | {"activation": activation_of(layer.activation, layer.name)}]

    return convert


def _convolution(name: str) -> Callable[[Any, PackedArrays], list[Step]]:
    def convert(layer: Any, weights: PackedArrays) -> list[Step]:
        _require_channels_last(layer)
        plain = {
            "groups": getattr(layer, "groups", 1) == 1,
            "dilation_rate": all(n == 1 for n in layer.dilation_rate),
            "output_padding": getattr(layer, "output_padding", None) is None,
            "padding": layer.padding in ("same", "valid"),
        }
        for argument, is_plain in plain.items():
            if not is_plain:
                raise CannotShow(f"The page has no {type(layer).__name__} ({layer.name}) with such a {argument}.")
        (step,) = _projection(name)(layer, weights)
        return [step | {"strides": list(layer.strides), "padding": layer.padding}]

    return convert


def _require_channels_last(layer: Any) -> None:
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise CannotShow(f"The page has no {type(layer).__name__} ({layer.name}) with channels first.")


def _activation(layer: Any, weights: PackedArrays) -> list[Step]:
    return [{"layer": "activation", "activation": activation_of(layer.activation, layer.name)}]


def _rectified(layer: Any, weights: PackedArrays) -> list[Step]:
    if (layer.max_value, float(layer.negative_slope), float(layer.threshold)) != (None, 0.0, 0.0):
        raise CannotShow(f"The page has no ReLU ({layer.name}) with a bound, a slope or a threshold.")
    return [{"layer": "activation", "activation": "relu"}]


def _reshape(layer: Any, weights: PackedArrays) -> list[Step]:
    return [{"layer": "reshape", "shape": [int(n) for n in layer.target_shape]}]


def _flatten(layer: Any, weights: PackedArrays) -> list[Step]:
    _require_channels_last(layer)
    return [{"layer": "flatten"}]


def _crop(layer: Any, weights: PackedArrays) -> list[Step]:
    _require_channels_last(layer)
    amounts = layer.cropping if np.ndim(layer.cropping) == 2 else [layer.cropping]
    return [{"layer": "crop", "crop": [[int(n) for n in each] for each in amounts]}]


def _enlarge(layer: Any, weights: PackedArrays) -> list[Step]:
    _require_channels_last(layer)
    if getattr(layer, "interpolation", "nearest") != "nearest":
        raise CannotShow(f"The page enlarges by repetition, and {layer.name} by {layer.interpolation}.")
    return [{"layer": "enlarge", "size": [int(n) for n in np.atleast_1d(layer.size)]}]


def _batch_normalization(layer: Any, weights: PackedArrays) -> list[Step]:
    _require_last_axis(layer)
    mean, variance = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
    scale = 1.0 / np.sqrt(variance + layer.epsilon)
    scale = scale * np.asarray(layer.gamma) if layer.scale else scale
    shift = (np.asarray(layer.beta) if layer.center else 0.0) - mean * scale
    return [{"layer": "affine", "scale": weights.add(scale), "shift": weights.add(shift)}]


def _layer_normalization(layer: Any, weights: PackedArrays) -> list[Step]:
    _require_last_axis(layer)
    size = int((layer.gamma if layer.scale else layer.beta).shape[0]) if layer.scale or layer.center else None
    if size is None:
        raise CannotShow(f"The page has no LayerNormalization ({layer.name}) without scale and centre.")
    scale = np.asarray(layer.gamma) if layer.scale else np.ones(size)
    shift = np.asarray(layer.beta) if layer.center else np.zeros(size)
    step = {"scale": weights.add(scale), "shift": weights.add(shift), "epsilon": float(layer.epsilon)}
    return [{"layer": "layer_norm", **step}]


def _require_last_axis(layer: Any) -> None:
    axes = [int(axis) for axis in np.atleast_1d(layer.axis)]
    rank = len(layer.get_build_config()["input_shape"])
    if axes not in ([-1], [rank - 1]):
        raise CannotShow(f"The page has no {type(layer).__name__} ({layer.name}) over axes {axes}: the last alone.")


KNOWN: dict[type, Callable[[Any, PackedArrays], list[Step]]] = {
    keras.layers.Dense: _projection("dense"),
    keras.layers.Conv1D: _convolution("convolution"),
    keras.layers.Conv2D: _convolution("convolution"),
    keras.layers.Conv1DTranspose: _convolution("transposed"),
    keras.layers.Conv2DTranspose: _convolution("transposed"),
    keras.layers.Activation: _activation,
    keras.layers.ReLU: _rectified,
    keras.layers.Reshape: _reshape,
    keras.layers.Flatten: _flatten,
    keras.layers.Cropping1D: _crop,
    keras.layers.Cropping2D: _crop,
    keras.layers.UpSampling1D: _enlarge,
    keras.layers.UpSampling2D: _enlarge,
    keras.layers.BatchNormalization: _batch_normalization,
    keras.layers.LayerNormalization: _layer_normalization,
}
