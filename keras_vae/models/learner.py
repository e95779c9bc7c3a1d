"""What a VAE does around its training step: arguments of `fit`, a look at the data, running means of what is logged."""

import contextlib
import inspect
import random
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import conditions, internals
from keras_vae.data import batches
from keras_vae.models import inputs
from keras_vae.terms import Terms
from keras_vae.training import replicas, skipped_steps
from keras_vae.training.callback import FitCallback


class BatchIndex(keras.metrics.Metric):
    """Counts the batches of an evaluation: like any metric it starts from zero whenever metrics are reset."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.index = self.add_variable((), "zeros", dtype="int32", name="index")

    def next(self) -> tf.Tensor:
        """The number of batches so far."""
        index = tf.identity(tf.convert_to_tensor(self.index))
        self.index.assign_add(1)
        return index

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: `next` counts."""

    def result(self) -> tf.Tensor:
        """The number of batches so far."""
        return tf.convert_to_tensor(self.index)


def counter(vae: Any, name: str) -> keras.Variable:
    """A weight of the model that counts: an int64 scalar, the same on all replicas."""
    return vae.add_weight(
        name=name,
        shape=(),
        dtype="int64",
        initializer="zeros",
        trainable=False,
        aggregation="only_first_replica",
    )


def build_optimizer(vae: Any) -> None:
    """Make the optimizer's variables. Left to the first step, they would make TensorFlow trace it a second time."""
    optimizer = getattr(vae, "optimizer", None)
    if optimizer is not None and not optimizer.built:
        with vae.distribute_strategy.scope():
            optimizer.build(vae.trainable_variables)


def fit_options(vae: Any, args: Iterable[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `keras.Model.fit` for what was given to that of a VAE, whose first batch has been looked at.

    A fresh model is adapted to the data; arrays are served from memory; every worker gets its own part of the batches.

    Raises:
        ValueError: for data, or conditions, that the model cannot take.
    """
    replicas.check_devices(vae.distribute_strategy)
    options = _named(keras.Model.fit, vae, args, kwargs)
    options["callbacks"] = skipped_steps.with_report(options.get("callbacks"))
    keepers = [callback for callback in options["callbacks"] if isinstance(callback, FitCallback)]
    for keeper in keepers:
        keeper.prepare(vae, options)
    if isinstance(options.get("x"), Mapping):
        options["x"], options["y"], _ = batches.unpack(options["x"], conditional=True)
        if vae.condition is None:
            conditions.given(None, options["y"])
    batch, x = look_at(vae, options.get("x"), options.get("y"))
    if options.get("validation_data") is not None:
        _, options["validation_data"] = look_at(vae, options["validation_data"])
    if batch is not None and is_fresh(vae):
        # A generator can be run through only once, and that is for training.
        vae.adapt(batch if isinstance(x, types.GeneratorType) else x)
    options["x"] = x
    for keeper in keepers:
        options = keeper.serve(vae, options)
    strategy = vae.distribute_strategy
    order = replicas.from_chief(strategy, random.randrange(2**31))
    options = batches.serve_arrays(options, order, conditional=vae.condition is not None)
    if not batches.is_array(options["x"]):
        # Keras shuffles arrays, and warns that it will not shuffle anything else.
        options.setdefault("shuffle", False)
    for data, steps in (("x", "steps_per_epoch"), ("validation_data", "validation_steps")):
        options[data], options[steps] = replicas.shard(strategy, options.get(data), options.get(steps))
    return options


def accompanied(vae: Any, options: Mapping[str, Any]) -> contextlib.ExitStack:
    """What the callbacks of `fit` hold while it runs."""
    with contextlib.ExitStack() as held:
        for callback in options["callbacks"]:
            if isinstance(callback, FitCallback):
                held.enter_context(callback.during(vae))
        return held.pop_all()


def evaluate_options(vae: Any, args: Iterable[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `keras.Model.evaluate` for what was given to that of a VAE.

    Raises:
        ValueError: as `fit_options`.
    """
    replicas.check_devices(vae.distribute_strategy)
    options = _named(keras.Model.evaluate, vae, args, kwargs)
    options.update(options.pop("kwargs", {}))
    if not options.get(internals.CACHED_EVALUATION):
        _, x = look_at(vae, options.get("x"), options.get("y"))
        options["x"], options["steps"] = replicas.shard(vae.distribute_strategy, x, options.get("steps"))
    return options


def is_fresh(vae: Any) -> bool:
    """Whether the weights were never trained, loaded or adapted."""
    is_new = not any(tf.convert_to_tensor(count).numpy() for count in (vae.adapted, vae.step))
    # A decoder that was trained elsewhere has a bias.
    return is_new and not np.any(tf.convert_to_tensor(vae.decoder.output_layer.bias).numpy())


def look_at(vae: Any, data: Any, y: Any = None) -> tuple[np.ndarray | None, Any]:
    """The examples of the first batch, checked with their conditions, and the data to use from then on.

    Of arrays all examples are looked at.

    Raises:
        ValueError: for data outside the likelihood's support or of another shape, and for wrong conditions.
    """
    batch, data = batches.first_batch(data)
    if batch is None:
        return None, data
    x = batches.examples(batch)
    holds_all = isinstance(data, (tuple, list, Mapping)) or batches.is_array(data)
    inputs.examples(vae, batches.examples(data) if holds_all else x)
    # Labels that stand beside an array are looked at all.
    condition = y if batches.is_array(batch) else batches.unpack(batch, vae.condition is not None)[1]
    if isinstance(condition, tf.distribute.DistributedValues):
        condition = condition.values[0]
    if vae.condition is not None or not batches.is_array(batch):
        rows = len(data) if batches.is_array(batch) and y is not None else len(x)
        conditions.given(vae.condition, condition, rows)
    return x, data


def log(
    means: Mapping[str, keras.metrics.Mean],
    terms: Terms,
    loss: tf.Tensor,
    extra: Mapping[str, tf.Tensor],
    skipped: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    """Update the running means of what `fit` reports, weighted by the examples of the batch, and give them.

    Args:
        means: by name.
        terms: of the batch.
        loss: the objective.
        extra: what the objective logs beside it.
        skipped: whether the step was left out: the means are over the steps that were taken.
    """
    count = terms.total_weight
    values = {
        "loss": loss,
        "elbo": terms.mean(terms.elbo),
        "log_likelihood": terms.mean(tf.reduce_mean(terms.log_likelihood, axis=0)),
        "kl": terms.mean(terms.kl),
        **extra,
    }
    if skipped is not None:
        count = tf.where(skipped, 0.0, count)
        values = {name: tf.where(skipped, 0.0, value) for name, value in values.items()}
    for name, value in values.items():
        means[name].update_state(value, sample_weight=count)
    return replicas.for_keras({name: mean.result() for name, mean in means.items()})


def _named(method: Callable[..., Any], vae: Any, args: Iterable[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a method by name."""
    options = inspect.signature(method).bind_partial(vae, *args, **kwargs).arguments
    del options["self"]
    return options
