"""The model that is exported: found, checked, and rebuilt in float32 with shapes that are known beforehand."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import internals
from keras_vae.export.errors import ExportError
from keras_vae.models.storage import untrusted
from keras_vae.models.vae import VAE

_HALF = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
Source = VAE | str | os.PathLike[str]


def load(vae_or_path: Source) -> VAE:
    """The model itself, a `.keras` file, or the `vae.keras` of a run folder.

    Raises:
        ExportError: there is no VAE there, or it has no weights yet, or some that are NaN or infinite.
    """
    vae = vae_or_path if isinstance(vae_or_path, VAE) else _read(vae_or_path)
    if not (vae.built and vae.encoder.built and vae.decoder.built):
        raise ExportError(
            "this VAE was never built, so it has no weights to export: train it, load trained weights, or call "
            "vae.build() if fresh weights are what you want"
        )
    for part in (vae.encoder, vae.decoder, vae.prior):
        bad = [weight.path for weight in part.weights if not np.isfinite(keras.ops.convert_to_numpy(weight)).all()]
        if bad:
            raise ExportError(
                f"{len(bad)} weights hold NaN or infinity, the first is {bad[0]}: the training diverged, so export an "
                "earlier checkpoint, or train with a lower learning rate or clipnorm"
            )
    return vae


def _read(path: str | os.PathLike[str]) -> VAE:
    if not isinstance(path, (str, os.PathLike)):
        raise ExportError(f"expected a keras_vae.VAE, a .keras file or a run folder, got {type(path).__name__}")
    file = Path(path)
    if file.is_dir():
        file = file / "vae.keras"
        if not file.exists():
            raise ExportError(f"{path} holds no vae.keras: give a run folder of `keras-vae train`, or a .keras file")
    if not file.exists():
        raise ExportError(f"{path} does not exist: give a keras_vae.VAE, a .keras file or a run folder")
    try:
        return untrusted.load(file, compile=False)
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise ExportError(
            f"{file} cannot be loaded, or is not a keras_vae.VAE; if it holds classes of your own, import them first "
            f"(each registered with keras_vae.register): {error}"
        ) from error


def in_float32(vae: VAE) -> VAE:
    """A copy of the model with float32 computation throughout and the same weights.

    Made from the config, since switching `dtype_policy` in place leaves casts behind.

    Raises:
        ExportError: the config does not lead back to a model of the same weights.
    """
    config = _without_half(keras.saving.serialize_keras_object(vae))
    config.pop("compile_config", None)
    try:
        # Keras numbers unnamed layers per thread: in a thread of its own the copy has the same names every time, and
        # neither these numbers nor the caller's dtype policy are touched.
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(_rebuild, config, vae).result()
    except (ValueError, TypeError, KeyError) as error:
        raise ExportError(
            "the model cannot be rebuilt from its config, which export needs; see that every class of yours has "
            f"get_config and is registered with keras_vae.register: {error}"
        ) from error


def _rebuild(config: dict[str, Any], vae: VAE) -> VAE:
    keras.config.set_dtype_policy("float32")
    # The config comes from a live model: what it runs has run in this process before.
    copy: VAE = keras.saving.deserialize_keras_object(config, safe_mode=False)
    copy.build((None, *vae.decoder.event_shape))
    copy.set_weights(vae.get_weights())
    return copy


def half_precision(vae: VAE) -> list[str]:
    """The names of the 16-bit dtype policies in the model, none for a float32 model."""
    found = {layer.dtype_policy.name for layer in internals.layers_of(vae) if hasattr(layer, "dtype_policy")}
    return sorted(found.intersection(_HALF))


def _without_half(config: Any) -> Any:
    """The config with every 16-bit dtype policy in it, at any depth, replaced by float32."""
    if isinstance(config, dict):
        if config.get("class_name") in ("DTypePolicy", "FloatDTypePolicy"):
            return {**config, "class_name": "DTypePolicy", "config": {"name": "float32"}}
        return {
            key: "float32" if key == "dtype" and value in _HALF else _without_half(value)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_without_half(value) for value in config)
    return config


def with_static_reshapes(vae: VAE) -> VAE:
    """The same model, whose Flatten and Reshape layers reshape to [-1, ...] instead of [rows of the input, ...].

    Equal by value. The number of rows would be computed in the graph. In files with `sample` and a condition LiteRT's
    XNNPACK then answers wrongly in some processes, from the second call on: in one of eight by version 2.3, with a
    reshape; by 2.1 and 2.2 too, with a tile. TensorFlow 2.21's own interpreter was never seen to.
    """
    for layer in internals.layers_of(vae):
        if type(layer) is keras.layers.Reshape or (
            type(layer) is keras.layers.Flatten and layer.data_format == "channels_last"
        ):
            layer.call = _static(layer)
    return vae


def _static(layer: keras.Layer) -> Callable[[tf.Tensor], tf.Tensor]:
    computed = layer.call

    def call(inputs: tf.Tensor) -> tf.Tensor:
        shape = layer.compute_output_shape(tuple(inputs.shape))[1:]
        # Two sizes left open need the input's own.
        return computed(inputs) if None in shape else tf.reshape(inputs, [-1, *shape])

    return call
