"""A body cut into stages, between which the levels of a hierarchy stand."""

from typing import Any

import keras
import tensorflow as tf

from keras_vae.networks.conditioned import is_projection, join, joined_shape
from keras_vae.networks.network import feature_shape

Stage = list[tuple[keras.layers.Layer, bool]]


def stages_of(body: Any) -> list[Stage]:
    """The layers of a body in stages, each begun by a projection or residual block; with each, if it is conditioned."""
    steps = body.steps if hasattr(body, "steps") else body.layers
    joined = body.joined if hasattr(body, "joined") else [False] * len(steps)
    stages: list[Stage] = []
    for layer, is_joined in zip(steps, joined, strict=True):
        if not stages or (_begins(layer) and any(_begins(each) for each, _ in stages[-1])):
            stages.append([])
        stages[-1].append((layer, is_joined))
    return stages


def _begins(layer: keras.Layer) -> bool:
    return is_projection(layer) or getattr(layer, "begins_stage", False)


def run_stage(stage: Stage, x: tf.Tensor, given: Any, training: bool | None) -> tf.Tensor:
    """The output of a stage for x [B, ...], with what it is given joined to the layers that are conditioned."""
    for layer, joined in stage:
        x = layer(join(x, given) if joined else x, training=training)
    return x


def shape_after(stage: Stage, shape: Any, given: Any) -> Any:
    """The shape after a stage, of inputs of `shape` and of what is given, as `joined_shape` takes it, or None."""
    for layer, joined in stage:
        shape = (None, *feature_shape(layer, joined_shape(shape, given) if joined and given is not None else shape))
    return shape
