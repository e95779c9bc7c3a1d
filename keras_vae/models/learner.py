"""The side of the variational autoencoder that learns: `fit`, `evaluate`, and the steps that they repeat."""

import dataclasses
import functools
import inspect
import random
import types
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import conditions, seeds
from keras_vae.conditions import Condition
from keras_vae.data.batches import examples, first_batch, is_array, serve_arrays, summarize, unpack
from keras_vae.models.decoder import Decoder
from keras_vae.models.encoder import Encoder
from keras_vae.objectives.objective import LOGGED, Objective
from keras_vae.priors.prior import Prior
from keras_vae.seeds import Seed
from keras_vae.terms import Terms
from keras_vae.training import skipped_steps, step_guard
from keras_vae.training.replicas import (
    fill_if_empty,
    follow_chief,
    from_chief,
    is_multi_worker,
    shard,
    share_of_mean,
    sum_gradients,
)
from keras_vae.training.step_guard import Backup, BatchIndex, SkipCounts
from keras_vae.training.steps_per_call import ChoosesExecutions


class Learner(ChoosesExecutions):
    """A model that learns from the terms of its objective, given `infer`, which makes them of data.

    `VAE` is that model, and says in its docstring what is reported.
    """

    encoder: Encoder
    decoder: Decoder
    prior: Prior
    objective: Objective
    seed: int
    gradient_skip_norm: float | None

    def _prepare_learning(self) -> None:
        # `optimizer.iterations` stands still when a step is accumulated or skipped; noise and schedules must not.
        self.step = self._counter("step")
        self.encoder.posterior.follow(self.step)
        # 1 once weights were adapted or loaded: an automatic `adapt` could then only destroy something.
        self.adapted = self._counter("adapted")
        names = ("loss", *LOGGED, *self.objective.metric_names)
        self._means = {name: keras.metrics.Mean(name=name) for name in names}
        self._batch_index = BatchIndex(name="batch_index")
        self.skip_counts = SkipCounts(name="skip_counts")

    def _counter(self, name: str) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

    @property
    def condition(self) -> Condition | None:
        """What the model is conditioned on, None for a model of p(x)."""
        found = (part.condition for part in (self.decoder, self.encoder, self.prior) if part.condition is not None)
        return next(found, None)

    def load_own_variables(self, store: Any) -> None:
        """Load the counters, and remember that weights were loaded."""
        super().load_own_variables(store)
        self.adapted.assign(1)

    def _ensure_built(self) -> None:
        if not self.built:
            # Whoever comes first, the weights belong to the strategy under which the model was made.
            with self.distribute_strategy.scope():
                self.build((None, *self.decoder.event_shape))

    def infer(
        self,
        x: tf.Tensor,
        num_samples: int = 1,
        seed: Seed | None = None,
        condition: tf.Tensor | None = None,
        training: bool = False,
    ) -> Terms:
        """From data to the terms of an objective."""
        raise TypeError(f"{type(self).__name__} must define infer(x, num_samples, seed, condition, training).")

    def adapt(self, data: Any) -> None:
        """Initialise from the data what is better not random: the output bias gives their mean, a learned scale their
        spread, pseudo-inputs look like them.

        The mean pixel alone is worth hundreds of nats at the start. `fit` calls this by itself on a model whose weights
        were never trained, loaded or adapted.

        Args:
            data: array, tensor, dataset or other iterable of batches; of endless data, 100 batches are used.
        """
        self._ensure_built()
        summary = summarize(data, self.prior.num_examples)
        self.decoder.adapt(summary.mean, summary.spread)
        self.prior.adapt(summary)
        follow_chief(self.distribute_strategy, [*self.trainable_variables, *self.prior.non_trainable_variables])
        self.adapted.assign(1)

    @functools.wraps(keras.Model.fit)
    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Look at the first batch, adapt a fresh model to the data, train."""
        options = inspect.signature(keras.Model.fit).bind_partial(self, *args, **kwargs).arguments
        del options["self"]
        options["callbacks"] = skipped_steps.with_report(options.get("callbacks"))
        keepers = [callback for callback in options["callbacks"] if hasattr(callback, "prepare")]
        for keeper in keepers:
            keeper.prepare(self, options)
        if isinstance(options.get("x"), Mapping):
            options["x"], options["y"], _ = unpack(options["x"], conditional=True)
            if self.condition is None:
                conditions.given(None, options["y"])
        batch, x = self._look_at(options.get("x"), options.get("y"))
        if options.get("validation_data") is not None:
            _, options["validation_data"] = self._look_at(options["validation_data"])
        if batch is not None and self._is_fresh():
            # A generator can be run through only once, and that is for training.
            self.adapt(batch if isinstance(x, types.GeneratorType) else x)
        options["x"] = x
        for keeper in keepers:
            options = keeper.serve(self, options)
        strategy = self.distribute_strategy
        order = from_chief(strategy, random.randrange(2**31))
        options = serve_arrays(options, order, conditional=self.condition is not None)
        if not is_array(options["x"]):
            # Keras shuffles arrays, and warns that it will not shuffle anything else.
            options.setdefault("shuffle", False)
        for data, steps in (("x", "steps_per_epoch"), ("validation_data", "validation_steps")):
            options[data], options[steps] = shard(strategy, options.get(data), options.get(steps))
        self._build_optimizer()
        with self.training_executions(options):
            return super().fit(**options)

    def _build_optimizer(self) -> None:
        # Left to the first step, its variables would make TensorFlow trace that step a second time.
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    @functools.wraps(keras.Model.evaluate)
    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Look at the first batch, evaluate."""
        options = inspect.signature(keras.Model.evaluate).bind_partial(self, *args, **kwargs).arguments
        del options["self"]
        options.update(options.pop("kwargs", {}))
        if not options.get("_use_cached_eval_dataset"):
            _, x = self._look_at(options.get("x"), options.get("y"))
            options["x"], options["steps"] = shard(self.distribute_strategy, x, options.get("steps"))
        with self.evaluating_executions():
            return super().evaluate(**options)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One update of all weights from one batch."""
        x, condition, sample_weight = unpack(data, self.condition is not None)
        self._ensure_built()
        variables = self.trainable_variables
        if not self.optimizer.built:
            self.optimizer.build(variables)
        statistics = Backup(self.non_trainable_variables)
        with tf.GradientTape() as tape:
            terms, loss, extra = self._objective(
                x, sample_weight, seeds.fold_in(self.seed, self._step()), training=True, condition=condition
            )
            scaled = self.optimizer.scale_loss(share_of_mean(loss, terms.total_weight))
        gradients = tape.gradient(scaled, variables)
        if not self.objective.uses_prior:
            # Keras warns of weights without a gradient: rightly so, but for a prior that the objective leaves alone.
            pairs = zip(gradients, variables, strict=True)
            gradients = [keras.ops.zeros_like(v) if gradient is None else gradient for gradient, v in pairs]
        gradients = sum_gradients(gradients, self.optimizer)
        checked = step_guard.check(gradients, self.optimizer, self.gradient_skip_norm, x, terms, loss)
        step_guard.apply(checked, self.optimizer, variables)
        statistics.restore(checked.skipped)
        self.skip_counts.update_state(checked.reason)
        # It depends on the loss: when the data have come to an end, the rest of the step is not taken either.
        self.step.assign_add(tf.ones_like(loss, tf.int64))
        return self._logs(terms, loss, extra, checked.skipped)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """The same numbers without an update. The noise follows from the index of the batch, so that they repeat."""
        x, condition, sample_weight = unpack(data, self.condition is not None)
        seed = seeds.fold_in(seeds.fold_in(self.seed, -1), self._batch_index.next())
        return self._logs(*self._objective(x, sample_weight, seed, training=False, condition=condition))

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Keras averages the first batch over the replicas to learn its shape: labels and unequal parts have no mean.
        if self._distribute_strategy is not None:
            self._ensure_built()
            self._build_optimizer()

    def _objective(
        self,
        x: tf.Tensor,
        sample_weight: tf.Tensor | None,
        seed: tf.Tensor,
        training: bool,
        condition: tf.Tensor | None = None,
    ) -> tuple[Terms, tf.Tensor, dict[str, tf.Tensor]]:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        (x, condition, sample_weight), is_stand_in = fill_if_empty(x, condition, sample_weight)
        terms = self.infer(x, self.objective.num_samples, seeds.fold_in(seed, replica), condition, training)
        terms = dataclasses.replace(terms, is_stand_in=is_stand_in)
        if sample_weight is not None:
            weight = tf.reshape(tf.cast(sample_weight, tf.float32), [-1])
            terms = dataclasses.replace(terms, sample_weight=weight)
        loss, extra = self.objective(terms, self._step())
        return terms, loss, extra

    def _logs(
        self, terms: Terms, loss: tf.Tensor, extra: dict[str, tf.Tensor], skipped: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        count = terms.total_weight
        log_likelihood = tf.reduce_mean(terms.log_likelihood, axis=0)
        values = {
            "loss": loss,
            "elbo": terms.mean(terms.elbo),
            "log_likelihood": terms.mean(log_likelihood),
            "kl": terms.mean(terms.kl),
            **extra,
        }
        if skipped is not None:
            # The means are over the steps that were taken.
            count = tf.where(skipped, 0.0, count)
            values = {name: tf.where(skipped, 0.0, value) for name, value in values.items()}
        for name, value in values.items():
            self._means[name].update_state(value, sample_weight=count)
        results = {name: mean.result() for name, mean in self._means.items()}
        if is_multi_worker(tf.distribute.get_strategy()):
            # Keras averages the workers' results over their first axis, which a scalar does not have.
            results = {name: result[tf.newaxis] for name, result in results.items()}
        return results

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        """The running means, over all replicas and workers; the last step returns those of the replicas' means."""
        return {name: mean.result() for name, mean in self._means.items()}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The running means of the logged numbers, and the index of the batch; reset at the start of each epoch."""
        return [*self._means.values(), self._batch_index]

    def _step(self) -> tf.Tensor:
        return tf.convert_to_tensor(self.step)

    def _is_fresh(self) -> bool:
        self._ensure_built()
        is_new = not any(tf.convert_to_tensor(counter).numpy() for counter in (self.adapted, self.step))
        # A decoder that was trained elsewhere has a bias.
        return is_new and not np.any(tf.convert_to_tensor(self.decoder.output_layer.bias).numpy())

    def _look_at(self, data: Any, y: Any = None) -> tuple[np.ndarray | None, Any]:
        """The examples of the first batch, checked with their conditions, and the data to use from then on."""
        self._ensure_built()
        batch, data = first_batch(data)
        if batch is None:
            return None, data
        x = examples(batch)
        self.decoder.likelihood.check(x)
        # Labels that stand beside an array are looked at all.
        condition = y if is_array(batch) else unpack(batch, self.condition is not None)[1]
        if isinstance(condition, tf.distribute.DistributedValues):
            condition = condition.values[0]
        if self.condition is not None or not is_array(batch):
            conditions.given(self.condition, condition, len(data) if is_array(batch) and y is not None else len(x))
        return x, data
