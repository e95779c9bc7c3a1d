"""What a VAE does around its training step: arguments of `fit`, adaptation to the data, running means of the logs."""

import contextlib
import dataclasses
import itertools
import random
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import internals
from keras_vae.conditions import handed
from keras_vae.data import batches
from keras_vae.data.class_names import names_of
from keras_vae.models import inputs
from keras_vae.terms import Terms
from keras_vae.training import data_guard, monitors, replicas, skipped_steps, steps_per_call
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


class Regularization:
    """What the layers of a model add to its loss: regularizers of weights and activities, and `add_loss`.

    As in plain Keras: their sum, in training and in validation. It is part of the loss, never of the ELBO.

    Attributes:
        mean: the running mean that is logged, under the name "regularization".
        is_used: whether there was anything when a step was traced; if not, nothing is logged.
    """

    def __init__(self) -> None:
        self.mean = keras.metrics.Mean(name="regularization", dtype="float32")
        self.is_used = False

    def added(self, vae: Any) -> tf.Tensor | None:
        """The sum of what was added since `internals.forget_losses`, a float32 scalar; None for nothing."""
        losses = vae.losses
        self.is_used |= bool(losses)
        return tf.add_n([tf.reduce_sum(tf.cast(loss, tf.float32)) for loss in losses]) if losses else None


def weights_of_examples(weight: Any) -> tf.Tensor | None:
    """Weights [B] or [B, 1] as float32 [B].

    Raises:
        ValueError: for weights of another shape.
    """
    if weight is None:
        return None
    sizes = weight.shape[1:]
    if sizes.rank is not None and sizes.num_elements() not in (1, None):
        raise ValueError(
            f"sample_weight must be one number for each example, of shape [B], not {tuple(weight.shape)}: weights of "
            "single values would make no likelihood."
        )
    return tf.reshape(tf.cast(weight, tf.float32), [-1])


def refuse_replacement(vae: Any, name: str, value: Any) -> None:
    """Refuse another objective: the names of the logs, and the compiled steps, are those of the first.

    Raises:
        AttributeError: naming the remedy.
    """
    if name == "objective" and vars(vae).get("objective", value) is not value:
        raise AttributeError(
            "The objective of a model cannot be replaced: make another model of the same parts, VAE(vae.encoder, "
            "vae.decoder, vae.prior, objective). Its numbers can be set: vae.objective.kl_weight = 0.5."
        )


def note_change(vae: Any, name: str, value: Any) -> None:
    """After a setting was changed that the compiled steps hold as a constant, let them be traced anew."""
    if name not in vae.constants or "__adopted__" not in vars(vae):
        return
    vars(vae)["__arguments__"][name] = value
    for made, make in (("train_function", vae.make_train_function), ("test_function", vae.make_test_function)):
        # Also within `fit`, which calls them by name at each step.
        if vars(vae).get(made) is not None:
            make(force=True)


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
    """The arguments of `keras.Model.fit` for what was given to that of a VAE, whose data have been looked at.

    A fresh model is adapted to the data; arrays are served from memory; every worker gets its own part of the batches.

    Raises:
        ValueError: for data, conditions, weights or callbacks that the model cannot take, and settings of `compile`
            that it would ignore.
    """
    replicas.check_devices(vae.distribute_strategy)
    require_compiled(vae, "fit")
    options = inputs.named(keras.Model.fit, vae, args, kwargs)
    options["callbacks"] = skipped_steps.with_report(options.get("callbacks"))
    options = steps_per_call.with_progress(options)
    inputs.take_arrays(vae, options, options.get("class_weight"))
    inputs.take_validation(vae, options)
    is_validated = options.get("validation_data") is not None or bool(options.get("validation_split"))
    best = {"elbo", "log_likelihood", vae.monitor} - {"loss"}
    monitors.settle(options["callbacks"], [*vae.get_metrics_result(), "regularization"], best, is_validated)
    keepers = [callback for callback in options["callbacks"] if isinstance(callback, FitCallback)]
    for keeper in keepers:
        keeper.prepare(vae, options)
    # Of data that may never end, a fresh model is adapted to the first batches.
    limit = min(options.get("steps_per_epoch") or batches.MANY_BATCHES, batches.MANY_BATCHES)
    adapts = is_fresh(vae)
    take_names(vae, options["x"])
    handed.check_names_of(vae.condition, options.get("validation_data"), "the validation data")
    seen, options["x"] = inputs.look_at(vae, options, limit if adapts else 1)
    if options.get("validation_data") is not None:
        _, options["validation_data"] = inputs.look_at(vae, {"x": options["validation_data"]})
    if seen and adapts:
        vae.adapt(_to_adapt_to(options, seen, limit))
    for keeper in keepers:
        options = keeper.serve(vae, options)
    strategy = vae.distribute_strategy
    order = replicas.from_chief(strategy, random.randrange(2**31))
    options = batches.serve_arrays(options, order, conditional=vae.learns_from_pairs)
    if not batches.is_array(options["x"]):
        # Keras shuffles arrays, and warns that it will not shuffle anything else.
        options.setdefault("shuffle", False)
    for data, steps in (("x", "steps_per_epoch"), ("validation_data", "validation_steps")):
        options[data], options[steps] = replicas.shard(strategy, options.get(data), options.get(steps))
    vae.data_guard.forget(data_guard.TRAINING)
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
    require_compiled(vae, "evaluate")
    options = inputs.named(keras.Model.evaluate, vae, args, kwargs)
    options.update(options.pop("kwargs", {}))
    options = steps_per_call.with_progress(options)
    if not options.get(internals.CACHED_EVALUATION):
        inputs.take_arrays(vae, options)
        handed.check_names_of(vae.condition, options["x"])
        _, x = inputs.look_at(vae, options)
        options["x"], options["steps"] = replicas.shard(vae.distribute_strategy, x, options.get("steps"))
    vae.data_guard.forget(data_guard.EVALUATION)
    return options


def refuse_weightless(vae: Any) -> None:
    """Refuse the numbers of an evaluation in which no example had a weight: means over nothing, all 0.

    One that was cut short, or saw no batch by `test_step`, is left alone.

    Raises:
        ValueError: naming the reason.
    """
    total = float(tf.convert_to_tensor(vae._means["loss"].count))
    if total == 0 and int(vae._batch_index.result()) and not vae.stop_evaluating:
        raise ValueError("sample_weight is 0 for all examples: there is nothing left to average over.")


def require_compiled(vae: Any, method: str) -> None:
    """Refuse to work before `compile`, and with settings of it that would be ignored.

    Raises:
        ValueError: naming the remedy.
    """
    if not vae.compiled:
        raise ValueError(
            f"{method} comes after compile: vae.compile(optimizer=keras.optimizers.Adam(1e-3)) says how the model is "
            "trained."
        )
    settings = internals.settings_of_compile(vae)
    ignored = [name for name in ("loss", "loss_weights", "metrics", "weighted_metrics") if settings.get(name)]
    if ignored:
        raise ValueError(
            f"compile({', '.join(f'{name}=...' for name in ignored)}): a VAE has a loss and numbers of its own, and "
            f"{method} would ignore these. Leave them out: vae.compile(optimizer). The loss is VAE(..., "
            "objective=objectives.ELBO()) of the decoder's likelihood: likelihoods.Normal for squared errors, "
            "likelihoods.Bernoulli for cross-entropies. Other numbers are logged by a callback of your own, of "
            "vae.reconstruct(x), or by an objective (Objective.metric_names)."
        )


def take_names(vae: Any, data: Any) -> None:
    """Give the classes of a model the names that a dataset has for them, unless they have names.

    Raises:
        ValueError: for a dataset whose classes have other names than those of the model.
    """
    condition = vae.condition
    if condition is None or condition.num_classes is None:
        return
    handed.check_names_of(condition, data)
    names = names_of(data)
    if names is None or condition.names is not None:
        return
    if len(names) == condition.num_classes:
        vae.name_classes(names)
    else:
        warnings.warn(
            f"The data name {len(names)} classes, and the model has {condition.num_classes}: these get no names.",
            stacklevel=4,
        )


def adapt(vae: Any, data: Any) -> None:
    """Initialise from the data what is better not random; see `VAE.adapt`."""
    likelihood = vae.decoder.likelihood
    wanted = max(vae.prior.num_examples, vae.objective.num_examples, likelihood.num_examples)
    summary = batches.summarize(inputs.data_of(data), wanted, targets=vae.targets, missing=vae.missing)
    if likelihood.num_examples:
        likelihood.adapt_to(summary.observed)
        vae.encoder.adapt_to(summary.observed)
    vae.decoder.adapt(summary.mean, summary.spread)
    vae.prior.adapt(dataclasses.replace(summary, examples=_evenly(summary.examples, vae.prior.num_examples)))
    if vae.objective.num_examples:
        vae.objective.adapt(_evenly(summary.examples, vae.objective.num_examples))
    fixed = [*vae.encoder.non_trainable_variables, *likelihood.non_trainable_variables]
    weights = [*vae.trainable_variables, *vae.prior.non_trainable_variables, *fixed, *weights_of_objective(vae)]
    replicas.follow_chief(vae.distribute_strategy, weights)
    vae.adapted.assign(1)


def adapt_objective(vae: Any, data: Any) -> None:
    """What `adapt` does for the objective alone, of a model whose other weights come from elsewhere."""
    if vae.objective.num_examples:
        vae.objective.adapt(batches.summarize(inputs.data_of(data), vae.objective.num_examples).examples)


def weights_of_objective(vae: Any) -> list[keras.Variable]:
    """The weights of the networks that the objective measures in."""
    return [variable for network in vae.objective.networks for variable in network.variables]


def _evenly(examples: np.ndarray, n: int) -> np.ndarray:
    """n of the examples, which stand in the order of the data; all of them if there are fewer."""
    if len(examples) <= n:
        return examples
    return examples[np.linspace(0, len(examples) - 1, n).round().astype(int)] if n else examples[:0]


def prepare_to_export(vae: Any, signature: Any) -> None:
    """Call the model once: Keras exports what has been called, and `fit` calls its parts.

    Raises:
        ValueError: for a conditional model without a signature, of which Keras would export half.
    """
    if vae.condition is not None and signature is None:
        raise ValueError(
            "Keras's own export knows one input, and this model has a condition too: keras_vae.export.to_saved_model("
            "vae, folder) exports it, and so does export(..., input_signature=...)."
        )
    low, high = vae.decoder.likelihood.support
    vae(np.full((1, *vae.decoder.event_shape), min(max(0.0, low), high), "float32"))


def _to_adapt_to(options: Mapping[str, Any], seen: list[Any], limit: int) -> Any:
    """All of the data, or the first batches of those that may never end or be run through only once."""
    x, y = options["x"], options.get("y")
    if batches.is_endless(x):
        return itertools.islice(batches.whole_batches(x, batches.DEFAULT_BATCH_SIZE), limit)
    if batches.may_be_endless(x):
        return iter(seen)
    return (x, y) if batches.is_array(x) and y is not None else x


def is_fresh(vae: Any) -> bool:
    """Whether the weights were never trained, loaded or adapted."""
    is_new = not any(tf.convert_to_tensor(count).numpy() for count in (vae.adapted, vae.step))
    # A decoder that was trained elsewhere has a bias.
    return is_new and not np.any(tf.convert_to_tensor(vae.decoder.output_layer.bias).numpy())


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
    unknown = [name for name in values if name not in means]
    if unknown:
        raise ValueError(f"{unknown} are no metric_names of the objective: those that it declares are logged.")
    for name, value in values.items():
        means[name].update_state(value, sample_weight=count)
    for metric in means.values():
        if hasattr(metric, "see"):
            metric.see(terms, count)
    return replicas.for_keras({name: mean.result() for name, mean in means.items()})
