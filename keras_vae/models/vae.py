"""The variational autoencoder: the Keras model that users fit."""

import dataclasses
import random
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import internals, schedules, seeds, startup
from keras_vae.arguments import check_count, check_names, check_number
from keras_vae.conditions import handed
from keras_vae.conditions.condition import Condition
from keras_vae.conditions.handed import condition_for
from keras_vae.data import batches
from keras_vae.distributions.distribution import Distribution
from keras_vae.distributions.support import REAL
from keras_vae.likelihoods.observed import filled
from keras_vae.models import inference, inputs, learner
from keras_vae.models.decoder import Decoder
from keras_vae.models.encoder import Encoder
from keras_vae.models.inference import Inference
from keras_vae.models.matching import check_missing, check_parts, check_tails
from keras_vae.models.storage.stored import Stored
from keras_vae.objectives.elbo import ELBO
from keras_vae.objectives.objective import LOGGED, Objective
from keras_vae.posteriors.codes import usage
from keras_vae.priors.prior import Prior
from keras_vae.seeds import Seed
from keras_vae.serialization import Serializable, register
from keras_vae.terms import Terms, drawn, few_of_many, latent_groups, pathwise, pathwise_of_levels
from keras_vae.training import data_guard, replicas, step_guard, steps_per_call
from keras_vae.training.step_guard import CheckedStep

# A model that several threads call for the first time is built by one of them.
BUILDING = threading.RLock()
# Folded into the seed of the choice of a few draws.
FEW = -1


class Generated(NamedTuple):
    """Draws from the model: z from the prior, [n, L], and p(x|z), batch [n]."""

    z: tf.Tensor
    likelihood: Distribution


@dataclasses.dataclass(frozen=True)
class Taken:
    """What a training step made of a batch: terms, loss, the numbers beside it, and gradients of the scaled loss."""

    terms: Terms
    loss: tf.Tensor
    extra: dict[str, tf.Tensor]
    gradients: list[tf.Tensor | None]


@register
class VAE(Serializable, Inference, Stored, keras.Model):
    """log p(x) >= E_q(z|x)[log p(x|z)] - KL(q(z|x) || p(z)), maximised by `fit`.

    After Kingma and Welling 2014, "Auto-encoding variational Bayes". All reported numbers are in nats per example:
    summed over the event, averaged over the examples (weighted by `sample_weight` if given).

    Parts made with `condition=` (see `keras_vae.conditions`) make it a model of log p(x|c): `fit` and its kin then take
    (x, c) or {"image": x, "condition": c}.

    `fit` and `evaluate` report `loss` (the objective), and, whatever the objective weighs, `elbo`, `log_likelihood`
    and `kl`; of codes also their `usage` and `perplexity`. Noise is stateless, a function of (`seed`, the model's own
    step, the replica).

    A different update procedure is a subclass: it overrides `train_step`, or `compute_objective`, of which both steps
    are made; a different relation of x and z overrides `infer` and `generate`.

    Args:
        encoder: q(z|x).
        decoder: p(x|z).
        prior: p(z).
        objective: what `fit` optimises; the plain ELBO unless told otherwise.
        seed: of the noise in training and evaluation; None draws one from Python's `random`, which
            `keras.utils.set_random_seed` controls.
        gradient_skip_norm: training steps whose gradient has a larger norm are skipped; None skips only those whose
            loss or gradient is not finite. `training.step_guard` says what that means; `fit` counts, reports and, if
            there are too many in a row, stops.
        targets: whether the likelihood is of a target beside x, as in denoising: q(z|x) sees x, and log p(y|z) is of
            y. `fit` and its kin then take (x, y), or {"image": x, "target": y}, with "condition" too if there is one.

        missing: whether NaN in x stands for a value that is missing, wherever data are taken; also {"image": x, "mask":
            m}, with m 0 where they are. The encoder sees zeros in their place and the mask beside them, log p(x|z) is
            of the values that are there, and so are `elbo`, a bound on their log-likelihood, and `log_prob`; `impute`
            draws the others. That is exact where values are missing at random, that is, where being missing does not
            depend on what is missing. After Mattei and Frellsen 2019, "MIWAE".

    Raises:
        ValueError: if posterior and prior differ in `latent_dim`; where KL(q || p) is infinite, because the support of
            the posterior is not inside the prior's or its tails are heavier than the prior's can carry; for a
            `Deterministic` posterior with another objective than `Reconstruction`.

    Attributes:
        encodes_all: whether `encode` gives q(z|x) of all of z: a subclass whose `infer` adds latents that have no
            encoder puts them beside the others in `with_code`, or says no.
        is_game: whether a discriminator judges what the decoder makes: a diagnosis then looks at samples and game.
        takes_missing: whether values of the data may be missing: a subclass of which other networks than the encoder
            see the data, or whose z is not what the decoder sees, says no.
        chooses_steps_per_execution: whether `fit` lets one call of the compiled function make several steps where
            nobody can tell and `compile` left `steps_per_execution` at 1, Keras's default, which so does not mean 1
            (see `training.steps_per_call`). It is not saved with the model.
    """

    encodes_all: bool = True
    takes_missing: bool = True
    is_game: bool = False
    chooses_steps_per_execution: bool = True
    # What a compiled step holds as a constant, and is therefore traced anew for.
    constants: tuple[str, ...] = ("seed", "gradient_skip_norm")

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        prior: Prior,
        objective: Objective | None = None,
        seed: int | None = None,
        gradient_skip_norm: float | None = None,
        targets: bool = False,
        missing: bool = False,
        **kwargs: Any,
    ) -> None:
        startup.operate_quietly()
        # An automatic cast to half precision would round the data before their likelihood is taken.
        super().__init__(autocast=False, **kwargs)
        objective = ELBO() if objective is None else objective
        check_parts(encoder, decoder, prior, objective)
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior
        self.objective = objective
        named = (part.condition.names for part in (decoder, encoder, prior) if part.condition is not None)
        if names := next(filter(None, named), None):
            self.name_classes(names)
        self.targets, self.missing = bool(targets), bool(missing)
        check_missing(self)
        self.seed = random.randrange(2**31) if seed is None else check_count("seed", seed, at_least=0)
        self.gradient_skip_norm = (
            None if gradient_skip_norm is None else check_number("gradient_skip_norm", gradient_skip_norm, above=0)
        )
        # `optimizer.iterations` stands still when a step is accumulated or skipped; noise and schedules must not.
        self.step = learner.counter(self, "step")
        encoder.posterior.follow(self.step)
        decoder.likelihood.missing = self.missing
        view = None if targets else decoder.likelihood.view()
        encoder.follow(REAL if targets else decoder.likelihood.support, self.missing, view)
        # 1 once weights were adapted or loaded: an automatic `adapt` could then only destroy something.
        self.adapted = learner.counter(self, "adapted")
        if "objective" in vars(self)["__arguments__"]:
            # Its numbers are part of the model, whoever made it.
            vars(self)["__arguments__"]["objective"] = objective
        if objective.networks:
            # As layers of the model they are part of every file and checkpoint.
            self.measured_in = list(objective.networks)
        schedules.adopt(objective)
        schedules.adopt(self)
        names = ("loss", *LOGGED, *objective.metric_names)
        self._means = {name: keras.metrics.Mean(name=name, dtype="float32") for name in names}
        self._usage = usage.metrics_of(encoder.posterior, names)
        self._regularization = learner.Regularization()
        self.data_guard = data_guard.DataGuard(decoder.likelihood)
        self._batch_index = learner.BatchIndex(name="batch_index")
        self.skip_counts = step_guard.SkipCounts(name="skip_counts")
        self.compiled_methods = inference.Compiled()

    def build(self, input_shape: tuple | None = None) -> None:
        """Make the weights of all parts; the shape of the data is the likelihood's event shape."""
        if self.built:
            return
        if isinstance(input_shape, Mapping):
            input_shape = input_shape[batches.IMAGE]
        shape = (None, *self.decoder.event_shape)
        if input_shape is not None and tuple(input_shape[1:]) != shape[1:]:
            raise ValueError(
                f"The data have shape {tuple(input_shape[1:])} per example, but the likelihood was made for "
                f"{shape[1:]}."
            )
        self.encoder.build(shape)
        self.decoder.build((None, self.prior.latent_dim))
        self.prior.build(shape)
        self.decoder.connect(self.encoder.feature_shapes)
        for network in self.objective.networks:
            if not network.built:
                network.build(shape)
            # What was built after it was frozen is not.
            for layer in internals.layers_of(network):
                internals.set_trainable(layer, False)
        check_tails(self.encoder.posterior, self.prior, tell_unknown=True)

    def _ensure_built(self) -> None:
        if not self.built:
            # Whoever comes first, the weights belong to the strategy under which the model was made.
            with BUILDING, self.distribute_strategy.scope():
                if not self.built:
                    self.build((None, *self.decoder.event_shape))

    def prepare_to_learn(self) -> None:
        """Make all weights and the optimizer's variables."""
        self._ensure_built()
        learner.build_optimizer(self)

    _maybe_symbolic_build = internals.build_ahead

    @property
    def condition(self) -> Condition | None:
        """What the model is conditioned on, None for a model of p(x)."""
        found = (part.condition for part in (self.decoder, self.encoder, self.prior) if part.condition is not None)
        return next(found, None)

    def name_classes(self, names: Sequence[str]) -> None:
        """Give the classes of the label that the model is conditioned on names; `fit` takes those of the data.

        `vae.condition.names` has them, a name stands for its label wherever a condition is given, and the model is
        saved with them.

        Args:
            names: the name of label k at index k.

        Raises:
            ValueError: unless there is one for each class, and for a model that is not conditioned on a label.
        """
        if self.condition is None or self.condition.num_classes is None:
            raise ValueError(f"Classes are of a label, and this model is conditioned on {self.condition}.")
        handed.rename(internals.layers_of(self), check_names("names", names, self.condition.num_classes))

    @property
    def num_levels(self) -> int:
        """Number of levels of latents: 1 unless the model is a hierarchy."""
        self._ensure_built()
        return self.decoder.num_levels

    @property
    def kl_is_exact(self) -> bool:
        """Whether KL(q(z|x) || p(z)) has a closed form; if not, it is a mean over the draws."""
        nothing = np.zeros((1, *self.decoder.event_shape), "float32")
        condition = None if self.condition is None else self.condition.zeros(1)
        return all(group.kl_is_exact for group in self.infer(nothing, seed=0, condition=condition).groups)

    @property
    def certainties(self) -> tuple[bool, ...]:
        """Whether q(z|x) is a point mass, block by block: importance samples of such a block are all equal."""
        return self.encoder.posterior.certainties

    # The two seams: everything below is made of them.

    def infer(
        self,
        x: Any,
        num_samples: int = 1,
        seed: Seed | None = None,
        condition: Any = None,
        training: bool = False,
        target: Any = None,
    ) -> Terms:
        """From data to the terms of an objective.

        Args:
            x: data [B, *event_shape], float32.
            num_samples: number K of draws from the posterior for each example.
            seed: of the draws; None takes the posterior's point instead of draws (then K is 1).
            condition: one for each example, or one for all; of a conditional model.
            training: passed on to the networks.
            target: what the likelihood is of, shaped like `x`; x itself unless given.
        """
        self._ensure_built()
        inputs.check_dtype(x)
        x = tf.cast(x, tf.float32)
        target = x if target is None else tf.cast(target, tf.float32)
        if x.shape.rank is not None:
            self.decoder.likelihood.check_shape(x.shape)
            inference.check_draws(self, x.shape[0], num_samples)
        condition = handed.given(self.condition, condition, x.shape[0])
        # A prior may call the encoder, too: what layers add to the loss is that of their last call.
        p = self.prior.distribution(encoder=self.encoder, condition=condition_for(self.prior, condition))
        q, features = self.encoder.ascend(x, condition=condition_for(self.encoder, condition), training=training)
        if seed is None:
            point = self.encoder.posterior.point(q)
            # At the very tensor that a flow gave: it remembers where that came from, and inverts nothing.
            z, log_q = point[tf.newaxis], q.log_prob(point)[tf.newaxis]
        else:
            z, log_q = drawn(q, num_samples, seeds.as_pair(seed))

        extras, densities = getattr(q, "extras", {}), self.encoder.posterior.densities

        def terms_at(z: tf.Tensor, log_q: tf.Tensor | None = None, **given: Any) -> Terms:
            likelihood, groups = self.decoder.descend(
                z, features, seed, condition_for(self.decoder, condition), training, **given
            )
            groups = [*latent_groups(q, p, z, log_q, densities), *groups]
            return Terms(likelihood.log_prob(target), groups, likelihood, extras=extras, target=target)

        def at_groups(z: Sequence[tf.Tensor]) -> Terms:
            top = len(densities)
            below = {"given": z[top:]} if self.decoder.needs_features else {}
            return terms_at(tf.concat(z[:top], axis=-1), **below)

        is_pathwise = training and "pathwise" in self.objective.needs
        few = self.objective.backward_samples if training and seed is not None else None
        if few is None and is_pathwise and not self.decoder.needs_features:
            return pathwise(terms_at, z)
        terms = terms_at(z, log_q)
        if few is None:
            return pathwise_of_levels(terms, at_groups) if is_pathwise else terms
        chosen, shares = few_of_many(terms, few, seeds.fold_in(seed, FEW))
        if is_pathwise and not self.decoder.needs_features:
            at_few = pathwise(terms_at, tf.concat(chosen, axis=-1))
        else:
            at_few = at_groups(chosen)
            at_few = pathwise_of_levels(at_few, at_groups) if is_pathwise else at_few
        return dataclasses.replace(terms, few=at_few, shares=shares)

    def generate(
        self,
        n: int,
        seed: Seed | None = None,
        condition: Any = None,
        temperature: float = 1.0,
    ) -> Generated:
        """From the prior to data: n draws z ~ p(z), and p(x|z).

        Args:
            n: number of draws.
            seed: an int or a pair of int32; None for other draws at each call.
            condition: one for each draw, or one for all; of a conditional model.
            temperature: factor on the standard deviation of every Gaussian prior; the mean at 0.

        Raises:
            ValueError: for a temperature other than 1 where the prior of the top level is no Gaussian, and for more
                draws than memory can hold.
        """
        self._ensure_built()
        n, seed, condition, temperature = inference.check_sampling(self, n, seed, condition, temperature)
        z = self.draw_latents(n, seed, condition, temperature)
        return Generated(z, self.decoder.generate(z, seed, condition_for(self.decoder, condition), temperature))

    def draw_latents(self, n: int, seed: tf.Tensor, condition: tf.Tensor | None, temperature: float) -> tf.Tensor:
        """n draws z ~ p(z), [n, L], as the decoder sees them; the arguments are checked."""
        return inference.draw_latents(self, n, seed, condition, temperature)

    def with_code(self, x: tf.Tensor, q: tfd.Distribution) -> tfd.Distribution:
        """q(z|x) of all of z, from what the encoder gives: that itself, unless a part of z has no encoder."""
        return q

    @property
    def draws_as_a_whole(self) -> bool:
        """Whether model or decoder has a `generate` of its own, of which nobody knows whether blocks give the same."""
        return type(self).generate is not VAE.generate or type(self.decoder).generate is not Decoder.generate

    @property
    def encodes_as_a_whole(self) -> bool:
        """Whether the encoder has a way of its own from x to q(z|x), or the model puts something beside it."""
        return type(self).with_code is not VAE.with_code or type(self.encoder).call is not Encoder.call

    # Learning.

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One update of all weights from one batch."""
        x, condition, target, sample_weight = batches.split(data, self.condition is not None, self.targets)
        self._ensure_built()
        refused = self.data_guard.look(data_guard.TRAINING, self._step(), x, target, sample_weight)
        x, target = data_guard.harmless(refused, x, target)
        variables = self.trainable_variables
        if not self.optimizer.built:
            self.optimizer.build(variables)
        backup = step_guard.Backup(self.changed_by_a_pass)
        seed = seeds.fold_in(self.seed, self._step())
        taken = self.differentiate(x, condition, sample_weight, seed, variables, **self._named_target(target))
        terms, loss, extra, gradients = taken.terms, taken.loss, taken.extra, taken.gradients
        if not self.objective.uses_prior:
            # Keras warns of weights without a gradient: rightly so, but for a prior that the objective leaves alone.
            pairs = zip(gradients, variables, strict=True)
            gradients = [keras.ops.zeros_like(v) if gradient is None else gradient for gradient, v in pairs]
        gradients = replicas.sum_gradients(gradients)
        # Of what is missing, nothing can be wrong.
        there = filled(x) if self.missing else x
        checked = step_guard.check(gradients, self.optimizer, self.gradient_skip_norm, there, terms, loss, refused)
        self.update(checked, variables, taken)
        backup.restore(checked.skipped)
        self.skip_counts.update_state(checked.reason)
        # It depends on the value of the loss, not on its shape, which is known: where the data have come to an end,
        # there is no step to count.
        self.step.assign_add(tf.where(tf.math.is_nan(loss), tf.ones([], tf.int64), 1))
        return learner.log(self._running_means, terms, loss, extra, checked.skipped)

    def differentiate(
        self,
        x: tf.Tensor,
        condition: tf.Tensor | None,
        sample_weight: tf.Tensor | None,
        seed: tf.Tensor,
        variables: Sequence[keras.Variable],
        target: tf.Tensor | None = None,
    ) -> Taken:
        """The loss of a batch and its gradients, of this replica and scaled as the optimizer wants them.

        Args:
            variables: those of the gradients; the others as in `compute_objective`.
        """
        with tf.GradientTape() as tape:
            terms, loss, extra = self.compute_objective(
                x, condition, sample_weight, seed, training=True, **self._named_target(target)
            )
            scaled = self.optimizer.scale_loss(replicas.share_of_mean(loss, terms.total_weight))
        return Taken(terms, loss, extra, tape.gradient(scaled, variables))

    @property
    def changed_by_a_pass(self) -> list[keras.Variable]:
        """What the networks may change by themselves when they are called in training; a skipped step restores it."""
        return self.non_trainable_variables

    def update(self, checked: CheckedStep, variables: Sequence[keras.Variable], taken: Taken) -> None:
        """Let the optimizer take a step that was looked at, unless it is to be skipped.

        Args:
            checked: the gradients, summed over the replicas, and what forbids the step, if anything does.
            variables: those of the gradients.
            taken: what `differentiate` gave.
        """
        with replicas.summed_already(self.optimizer):
            step_guard.apply(checked, self.optimizer, variables)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """The same numbers without an update. The noise follows from the index of the batch, so that they repeat."""
        x, condition, target, sample_weight = batches.split(data, self.condition is not None, self.targets)
        index = self._batch_index.next()
        refused = self.data_guard.look(data_guard.EVALUATION, index, x, target, sample_weight)
        x, target = data_guard.harmless(refused, x, target)
        seed = seeds.fold_in(seeds.fold_in(self.seed, -1), index)
        terms, loss, extra = self.compute_objective(
            x, condition, sample_weight, seed, training=False, **self._named_target(target)
        )
        return learner.log(self._running_means, terms, loss, extra)

    def compute_objective(
        self,
        x: tf.Tensor,
        condition: tf.Tensor | None,
        sample_weight: tf.Tensor | None,
        seed: tf.Tensor,
        training: bool,
        target: tf.Tensor | None = None,
    ) -> tuple[Terms, tf.Tensor, dict[str, tf.Tensor]]:
        """The terms of a batch, the loss, and the numbers that the objective logs beside it.

        Args:
            x: data [B, *event_shape]; of a replica that got none, a stand-in takes their place.
            condition: [B, ...], of a conditional model.
            sample_weight: [B], or None.
            seed: of the draws; each replica has its own.
            training: passed on to the networks.
            target: shaped like x, of a model with `targets`.
        """
        terms, (_, _, target) = self.observe(x, condition, sample_weight, seed, training, target)
        return terms, *self.score(terms, target)

    def observe(
        self,
        x: tf.Tensor,
        condition: tf.Tensor | None,
        sample_weight: tf.Tensor | None,
        seed: tf.Tensor,
        training: bool,
        target: tf.Tensor | None = None,
    ) -> tuple[Terms, tuple[tf.Tensor, tf.Tensor | None, tf.Tensor | None]]:
        """The terms of a batch, and the x, condition and target that they are of; arguments as in `compute_objective`.

        What layers added to the loss before is forgotten.
        """
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        parts, is_stand_in = replicas.fill_if_empty(x, condition, sample_weight, target)
        x, condition, sample_weight, target = parts
        if is_stand_in is not None:
            # A row of zeros that has no density, as in a table, would have a NaN for gradient, whatever its weight.
            x = self.decoder.likelihood.with_density(x)
        internals.forget_losses(self)
        named, seed = self._named_target(target), seeds.fold_in(seed, replica)
        terms = self.infer(x, self.objective.num_samples, seed, condition, training, **named)
        weight = learner.weights_of_examples(sample_weight)
        return dataclasses.replace(terms, is_stand_in=is_stand_in, sample_weight=weight), (x, condition, target)

    def score(self, terms: Terms, target: tf.Tensor | None) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The objective of `terms` with what layers have added to the loss, and the numbers logged beside it."""
        loss, extra = self.objective(terms, self.objective_step())
        if target is not None:
            # A likelihood of levels may not notice a NaN, and the encoder does not see it.
            loss += tf.reduce_sum(0.0 * tf.cast(target, tf.float32))
        added = self._regularization.added(self)
        return (loss, extra) if added is None else (loss + added, {**extra, "regularization": added})

    def _named_target(self, target: tf.Tensor | None) -> dict[str, tf.Tensor]:
        # Subclasses that know of no targets need not take any.
        return {"target": target} if self.targets else {}

    @inputs.like(keras.Model.fit)
    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """`keras.Model.fit`, after a look at the data; a model whose weights are fresh is adapted to them first.

        `x` is arrays, a dataset or another iterable of batches: of x, (x, y), {"image": x, "condition": c}, or
        {"image": x, "target": t}. Labels are ignored, unless the model is conditioned on them. All batches are looked
        at: those whose values are not finite are left out (see `training.step_guard`), others that the model cannot
        take end the training. Under a distribution strategy every replica gets its own part of each batch. All numbers
        in the history are nats per example.

        Raises:
            ValueError: before `compile`, or for what `compile` was given and the model would ignore; for data of
                another shape or outside the likelihood's support, wrong conditions or weights, and callbacks that
                monitor what will not be there.
            TrainingDiverged: if too many steps in a row had to be skipped.
        """
        self._ensure_built()
        options = learner.fit_options(self, args, kwargs)
        learner.build_optimizer(self)
        with learner.accompanied(self, options), steps_per_call.while_training(self, options):
            return super().fit(**options)

    @inputs.like(keras.Model.evaluate)
    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.evaluate`, with a look at all batches: `loss`, `elbo`, `log_likelihood` and `kl`, in nats.

        Raises:
            ValueError: as `fit`, for values that are not finite, and where all weights are 0.
        """
        self._ensure_built()
        options = learner.evaluate_options(self, args, kwargs)
        with steps_per_call.while_evaluating(self):
            result = super().evaluate(**options)
        is_validation = options.get(internals.CACHED_EVALUATION)
        self.data_guard.refuse(data_guard.EVALUATION, of=f"of the {'validation ' if is_validation else ''}data")
        learner.refuse_weightless(self)
        return result

    @inputs.like(keras.Model.train_on_batch)
    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """`keras.Model.train_on_batch`; a batch that the model cannot take is refused, and changes nothing."""
        learner.require_compiled(self, "train_on_batch")
        x, y, sample_weight = inputs.arrays(self, x, y, sample_weight, class_weight)
        before = int(self._step())
        logs = super().train_on_batch(x, y, sample_weight, class_weight, return_dict)
        self.data_guard.refuse(data_guard.TRAINING, before)
        return logs

    @inputs.like(keras.Model.test_on_batch)
    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """`keras.Model.test_on_batch`; a batch that the model cannot take is refused."""
        learner.require_compiled(self, "test_on_batch")
        logs = super().test_on_batch(*inputs.arrays(self, x, y, sample_weight), return_dict)
        self.data_guard.refuse(data_guard.EVALUATION)
        return logs

    def adapt(self, data: Any) -> None:
        """Initialise from the data what is better not random: the output bias gives their mean, a learned scale their
        spread, pseudo-inputs look like them.

        The mean pixel alone is worth hundreds of nats at the start. `fit` calls this by itself on a model whose weights
        were never trained, loaded or adapted.

        Args:
            data: array, tensor, dataset or other iterable of batches, with the targets of a model that has any; of
                data that may never end, 100 batches are used.
        """
        self._ensure_built()
        learner.adapt(self, data)

    @property
    def monitor(self) -> str:
        """The logged number by whose validation value the best model is chosen; of "loss" less is better."""
        return self.objective.monitor

    def weights_at(self, step: int) -> tuple[float, ...]:
        """The numbers in the loss that may change while `fit` runs, as they are at a step."""
        return self.objective.weights_at(step, self.encoder.latent_dim)

    def yardstick(self) -> tuple[float, ...]:
        """What must be equal for two values of `monitor` to be compared: nothing, or what the loss weighs by now."""
        return self.weights_at(int(self._step())) if self.monitor == "loss" else ()

    @property
    def learns_from_pairs(self) -> bool:
        """Whether y means something: the condition, or the target."""
        return self.condition is not None or self.targets

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The running means of the logged numbers, and the index of the batch; reset at the start of each epoch."""
        return [*self._running_means.values(), self._batch_index]

    @property
    def _running_means(self) -> dict[str, keras.metrics.Metric]:
        used = {"regularization": self._regularization.mean} if self._regularization.is_used else {}
        return {**self._means, **self._usage, **used}

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        """The running means, over all replicas and workers; the last step returns those of the replicas' means."""
        return {name: mean.result() for name, mean in self._running_means.items()}

    def __setattr__(self, name: str, value: Any) -> None:
        learner.refuse_replacement(self, name, value)
        super().__setattr__(name, value)
        learner.note_change(self, name, value)

    def objective_step(self) -> tf.Tensor:
        """The step at which the objective is taken, an int64 scalar: the model's own."""
        return self._step()

    def _step(self) -> tf.Tensor:
        return tf.convert_to_tensor(self.step)
