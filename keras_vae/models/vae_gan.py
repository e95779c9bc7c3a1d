"""VAE/GAN: reconstructions are compared in the eyes of a discriminator, which samples must deceive."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_vae import schedules, seeds
from keras_vae.arguments import (
    check_choice,
    check_count,
    check_flag,
    check_number,
    check_sizes,
    check_weight,
    require_kind,
)
from keras_vae.conditions.handed import condition_for
from keras_vae.models import learner
from keras_vae.models.adversarial import discriminator as discriminators
from keras_vae.models.adversarial import game, pulls, renewal
from keras_vae.models.adversarial.comparison import compare
from keras_vae.models.adversarial.game import Costs
from keras_vae.models.adversarial.opposed import Opposed
from keras_vae.models.adversarial.verdict import Verdict
from keras_vae.models.decoder import Decoder
from keras_vae.models.encoder import Encoder
from keras_vae.models.vae import Taken
from keras_vae.objectives.objective import Objective
from keras_vae.priors.prior import Prior
from keras_vae.schedules import Schedule
from keras_vae.serialization import register
from keras_vae.terms import Terms
from keras_vae.training import replicas
from keras_vae.training.replicas import share_of_mean
from keras_vae.training.step_guard import CheckedStep

# Folded into the seed of a batch: of draws from the prior, and of new weights of the discriminator.
PRIOR_DRAWS, NEW_WEIGHTS = 0x676E, 0x6E77
# The weight of distances in the discriminator, unless given.
SIMILARITY = 0.1


@dataclasses.dataclass(frozen=True)
class Round(Taken):
    """A step of both sides: what the discriminator's gradients are, who learns, and the numbers of the game."""

    discriminator_gradients: list[tf.Tensor | None]
    decoder_learns: tf.Tensor
    discriminator_learns: tf.Tensor
    is_won: tf.Tensor
    numbers: dict[str, tf.Tensor]


@register
class VAEGAN(Opposed):
    """Encoder, decoder and discriminator, each with a loss of its own; x~ = E[x|z] is the mean of the likelihood.

        r(x, z)        = w_x log p(x|z) - w_s |D_l(x) - D_l(x~)|^2 / 2 v - w_f |F(x) - F(x~)|^2 / 2
        encoder        objective with r in place of log p(x|z): for the ELBO, KL - E_q[r]
        decoder        gamma (the same) + lambda A,   A = mean over x~ of q(z|x), and of p(z), of -log D(x~)
        discriminator  (C(x) + C(x~)) / 2,   C(x) = -log D(x),   C(x~) = mean of both of -log(1 - D(x~))

    The prior, if it learns, has the loss of the encoder. D_l is what a layer of the discriminator makes of x, and
    -|.|^2 / 2 v a Gaussian there, without its constant, summed over the features: of unit variance in units of the
    features' own, v, a moving average of their variance over the data, which batch normalisation would make 1. For the
    features F of a network of the user's v is 1. Larsen et al. 2016, "Autoencoding beyond pixels using a learned
    similarity metric", have w_x = 0, w_s = 1, and lambda = 1 with a small gamma. `loss="hinge"` is max(0, 1 - d) and
    max(0, 1 + d) for the logit d, and A = -d.

    With `adaptive` lambda = w_a |g_r| / (|g_a| + 0.0001), g_r and g_a the gradients of gamma (...) and of A in the
    kernel of the decoder's last layer: Esser et al. 2021, "Taming transformers for high-resolution image synthesis",
    who judge patches of reconstructions alone (`patches`, `prior_draws=False`), let A reach the encoder
    (`through_encoder`) and begin the game late (`start`).

    The side that is ahead waits, as in the code of Larsen et al.: the discriminator where it pays less than
    equilibrium - margin for x or for x~, the decoder where the discriminator pays more than equilibrium + margin. If
    the discriminator has won all the same, paying less than a twentieth of the equilibrium for both through `patience`
    steps in a row, its kernels are drawn anew. One that is too strong wins again: what holds it is `r1_weight`.

    `elbo`, `log_likelihood` and `kl` are those of every VAE, of log p(x|z) and with weight 1. `fit` also reports

        discriminator_loss           its loss
        told_real, told_reconstructed, told_drawn
                                     shares of data, of x~ from q(z|x) and of x~ from p(z) that it is right about
        adversarial_loss, adversarial_weight
                                     A and lambda
        similarity, feature_distance |.|^2 / 2 v in nats per example, where they have a weight
        decoder_waits, discriminator_waits
                                     shares of the steps in which a side waited
        discriminator_resets         how often it was drawn anew, up to now

    The weights of the discriminator and of its optimizer are part of the model: saved, loaded and resumed with it. The
    optimizer of `compile` keeps what it remembers of encoder and decoder weight by weight, and leaves the decoder's
    alone where it waits. The last model counts, not that of the best loss.

    Args:
        encoder: q(z|x).
        decoder: p(x|z), of gray levels or real numbers: zeros and ones are told from means at a glance.
        prior: p(z).
        discriminator: any Keras layer or model from x [B, ...] to logits [B, ...], or to [logits, features], whose
            features are then D_l; it sees no condition. None makes one from the shape of the data: spectrally
            normalised convolutions, or dense layers.
        objective: the ELBO unless told otherwise.
        seed: of the noise.
        pixel_weight: w_x; this and the other weights are numbers or schedules of the step.
        similarity_weight: w_s; None is 0.1, and 0 where there is no layer to measure in. What the discriminator looks
            at moves while it learns: with 1 beside the pixels, short trainings on small pictures came to nothing.
        similarity_layer: name of the layer D_l, of a sequential or functional discriminator. None is what the last of
            its layers with weights sees, or the features of one that gives them.
        features: F, a Keras layer or model from x to one tensor or a list of them. It is left as it is, and saved with
            the model.
        feature_weight: w_f.
        decoder_weight: gamma.
        adversarial_weight: w_a, or lambda itself if it is not `adaptive`. Below 1 what the data ask for is stronger.
        adaptive: whether lambda follows from the gradients.
        start: step before which lambda is 0. The discriminator, too, then waits, unless it has a similarity to learn.
        loss: "cross_entropy" or "hinge".
        prior_draws: whether the discriminator sees draws from the prior beside reconstructions.
        through_encoder: whether lambda A is part of the encoder's loss.
        filters: of the discriminator that is made here.
        patches: whether that judges each place of its last map by itself.
        discriminator_learning_rate: of its optimizer, Adam with beta_1 = 0.5 and beta_2 = 0.999.
        r1_weight: w of w / 2 E|grad D(x)|^2 over data, in the discriminator's loss: Mescheder et al. 2018, "Which
            training methods for GANs do actually converge?".
        margin: of the side that waits, in parts of what is said below; None lets both learn always.
        equilibrium: what a discriminator that knows nothing pays; 0.68 unless given, and 1 of the hinge loss.
        patience: steps; None never draws the discriminator anew.
        gradient_skip_norm: as in `VAE`.

    Raises:
        ValueError: as in `VAE`, for wrong weights and numbers, a layer that the discriminator does not have, and an
            objective that wants pathwise gradients, which the terms of the discriminator do not have.
        TypeError: for a discriminator or features that are no Keras layers.
    """

    is_game = True
    takes_missing = False
    constants = (
        *Opposed.constants,
        *("pixel_weight", "similarity_weight", "feature_weight", "decoder_weight", "adversarial_weight", "adaptive"),
        *("start", "prior_draws", "through_encoder", "r1_weight", "margin", "equilibrium", "patience"),
    )

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        prior: Prior,
        discriminator: keras.Layer | None = None,
        objective: Objective | None = None,
        seed: int | None = None,
        pixel_weight: float | Schedule = 1.0,
        similarity_weight: float | Schedule | None = None,
        similarity_layer: str | None = None,
        features: keras.Layer | None = None,
        feature_weight: float | Schedule = 1.0,
        decoder_weight: float | Schedule = 1.0,
        adversarial_weight: float | Schedule = 0.5,
        adaptive: bool = True,
        start: int = 0,
        loss: str = "cross_entropy",
        prior_draws: bool = True,
        through_encoder: bool = False,
        filters: Sequence[int] = (32, 64, 128),
        patches: bool = False,
        discriminator_learning_rate: float = 3e-4,
        r1_weight: float = 0.0,
        margin: float | None = 0.35,
        equilibrium: float | None = None,
        patience: int | None = 200,
        gradient_skip_norm: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, decoder, prior, objective, seed, gradient_skip_norm, **kwargs)
        if "pathwise" in self.objective.needs:
            raise ValueError(
                f"{type(self.objective).__name__} wants gradients along the paths of its draws, which VAEGAN does not "
                "give: take objectives.ELBO."
            )
        for name, network in (("discriminator", discriminator), ("features", features)):
            if network is not None:
                require_kind(name, network, keras.Layer, "a Keras layer or model")
        self.pixel_weight = check_weight("pixel_weight", pixel_weight)
        self.similarity_weight = check_weight(
            "similarity_weight", SIMILARITY if similarity_weight is None else similarity_weight
        )
        self.must_have_similarity = similarity_weight is not None and self._has_similarity
        self.feature_weight = check_weight("feature_weight", feature_weight)
        self.decoder_weight = check_weight("decoder_weight", decoder_weight)
        self.adversarial_weight = check_weight("adversarial_weight", adversarial_weight)
        self.adaptive = check_flag("adaptive", adaptive)
        self.start = check_count("start", start, at_least=0)
        self.game_loss = check_choice("loss", loss, tuple(game.EQUILIBRIUM))
        self.prior_draws = check_flag("prior_draws", prior_draws)
        self.through_encoder = check_flag("through_encoder", through_encoder)
        self.discriminator_learning_rate = check_number(
            "discriminator_learning_rate", discriminator_learning_rate, above=0
        )
        self.r1_weight = check_number("r1_weight", r1_weight, at_least=0)
        self.equilibrium = (
            game.EQUILIBRIUM[loss] if equilibrium is None else check_number("equilibrium", equilibrium, above=0)
        )
        self.margin = None if margin is None else check_number("margin", margin, at_least=0)
        self.patience = None if patience is None else check_count("patience", patience)
        self.features = features
        is_made = discriminator is None
        if is_made:
            stages = check_sizes("filters", filters)
            discriminator = discriminators.make(decoder.event_shape, stages, check_flag("patches", patches))
        self.discriminator = discriminator
        self.similarity_layer = similarity_layer
        self.lead = learner.counter(self, "lead")
        self.resets = learner.counter(self, "resets")
        self.feature_variance = self.add_weight(
            name="feature_variance",
            shape=(),
            initializer="zeros",
            trainable=False,
            dtype="float32",
            aggregation="only_first_replica",
        )
        names = ["discriminator_loss", "told_real", "told_reconstructed", "adversarial_loss", "adversarial_weight"]
        names += ["told_drawn"] if self.prior_draws else []
        names += ["similarity"] if self._has_similarity else []
        names += ["feature_distance"] if features is not None else []
        names += ["decoder_waits", "discriminator_waits"] if self.margin is not None or self.start else []
        self._game = {name: keras.metrics.Mean(name=name, dtype="float32") for name in names}

    @property
    def _has_similarity(self) -> bool:
        return callable(self.similarity_weight) or self.similarity_weight > 0

    def build(self, input_shape: tuple | None = None) -> None:
        """Make the weights of all parts, of the discriminator and of its optimizer."""
        if self.built:
            return
        super().build(input_shape)
        shape = (None, *self.decoder.event_shape)
        for network in (self.discriminator, self.features):
            if network is not None and not network.built:
                network.build(shape)
        eye = self.discriminator
        if self._has_similarity:
            eye = discriminators.with_features(self.discriminator, self.similarity_layer, shape)
            if eye is None and self.must_have_similarity:
                raise ValueError(
                    "similarity_weight is that of a distance in a layer of the discriminator: name it by "
                    "similarity_layer, let the discriminator give [logits, features], or set similarity_weight=0."
                )
            if eye is None:
                eye, self.similarity_weight = self.discriminator, 0.0
        # Not an attribute that Keras tracks: its layers are those of the discriminator.
        self.__dict__["eye"] = eye
        self.build_opponent(beta_1=0.5, beta_2=0.999)

    @property
    def not_trained(self) -> Sequence[keras.Variable]:
        """The weights of the discriminator and of the feature network."""
        return [*self.discriminator.variables, *(() if self.features is None else self.features.variables)]

    @property
    def changed_by_a_pass(self) -> list[keras.Variable]:
        """As in `VAE`, and the discriminator's kernels, which spectral normalisation divides in each pass."""
        return [*super().changed_by_a_pass, *self.discriminator.trainable_variables]

    def weights_at(self, step: int) -> tuple[float, ...]:
        """As in `VAE`, and the weights of the terms."""
        at = tf.constant(step, tf.int64)
        weights = (self.pixel_weight, self.similarity_weight, self.feature_weight, self.decoder_weight)
        return (*super().weights_at(step), *(float(schedules.at_step(weight, at)) for weight in weights))

    # What is seen of a batch.

    def _look(self, images: tf.Tensor, training: bool) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Logits [B, ...] and what D_l makes, none or some tensors."""
        logits, *seen = discriminators.as_list(vars(self)["eye"](images, training=training))
        return logits, seen if self._has_similarity else []

    def compute_objective(
        self,
        x: tf.Tensor,
        condition: tf.Tensor | None,
        sample_weight: tf.Tensor | None,
        seed: tf.Tensor,
        training: bool,
        target: tf.Tensor | None = None,
    ) -> tuple[Terms, tf.Tensor, dict[str, tf.Tensor]]:
        """As in `VAE`, of r(x, z): the loss of the encoder, without the game."""
        terms, (x, _, target) = self.observe(x, condition, sample_weight, seed, training, target)
        real, made = self._pictures(terms, x, target)
        of_x, of_made = (self._look(images, False)[1] for images in (real, made)) if self._has_similarity else ([], [])
        compared, _ = compare(self, terms, real, made, of_x, of_made, False)
        return terms, *self.score(compared, target)

    def _pictures(self, terms: Terms, x: tf.Tensor, target: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """x [B, ...], or the target, and x~ [K B, ...]."""
        made = tf.reshape(terms.likelihood.mean(), [-1, *self.decoder.event_shape])
        return tf.cast(x if target is None else target, tf.float32), made

    def _drawn(self, n: tf.Tensor, condition: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        """n means of p(x|z), z ~ p(z): [n, ...]."""
        p = self.prior.distribution(encoder=self.encoder, condition=condition_for(self.prior, condition))
        z = tf.stop_gradient(p.sample(() if p.batch_shape.rank else n, seed=seed))
        z = tf.ensure_shape(z, [None, self.prior.latent_dim])
        return self.decoder.generate(z, seed, condition_for(self.decoder, condition)).mean()

    # The step.

    def differentiate(
        self,
        x: tf.Tensor,
        condition: tf.Tensor | None,
        sample_weight: tf.Tensor | None,
        seed: tf.Tensor,
        variables: Sequence[keras.Variable],
        target: tf.Tensor | None = None,
    ) -> Round:
        """The losses of all three, the gradients of each in its own weights, and who learns."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        of_decoder = {id(variable) for variable in self.decoder.trainable_variables}
        scale = self.optimizer.scale_loss(tf.ones(()))
        with tf.GradientTape(persistent=True) as tape:
            terms, (x, condition, target) = self.observe(x, condition, sample_weight, seed, True, target)
            real, made = self._pictures(terms, x, target)
            images, sizes = [real, made], [tf.shape(real)[0], tf.shape(made)[0]]
            if self.prior_draws:
                images.append(self._drawn(sizes[0], condition, seeds.fold_in(seed, PRIOR_DRAWS, replica)))
                sizes.append(sizes[0])
            # In one pass: what a discriminator changes in a pass, as normalisation does, is the same for all.
            logits, seen = self._look(tf.concat(images, axis=0), True)
            verdict = Verdict(self.game_loss, terms, tf.split(logits, sizes))
            of_x, of_made = zip(*(tf.split(values, sizes)[:2] for values in seen), strict=True) if seen else ((), ())
            compared, numbers = compare(self, terms, real, made, list(of_x), list(of_made), True)
            loss, extra = self.score(compared, target)
            costs = Costs(verdict.cost_of_real, verdict.cost_of_made)
            judging, adversarial = 0.5 * (costs.real + costs.made), verdict.cost_of_maker
            penalised = tf.add_n([judging, self._penalty(real, terms), *map(_scalar, self.discriminator.losses)])
            count = terms.total_weight
            shared, played, judged = (share_of_mean(value, count) for value in (loss, adversarial, penalised))
            shared, played = scale * shared, scale * played
        gradients = tape.gradient(shared, variables)
        reached = [v for v in variables if id(v) in of_decoder or self.through_encoder]
        of_game = dict(zip(map(id, reached), tape.gradient(played, reached), strict=True))
        judged = tape.gradient(judged, self.discriminator.trainable_variables)
        del tape
        gamma = schedules.at_step(self.decoder_weight, self._step())
        gradients = [
            gamma * pulls.dense(g, v) if id(v) in of_decoder else g for g, v in zip(gradients, variables, strict=True)
        ]
        weight = self._weight(dict(zip(map(id, variables), gradients, strict=True)), of_game, scale)
        gradients = pulls.added(gradients, variables, of_game, weight)
        costs = Costs(*(game.over_replicas(cost, count) for cost in costs))
        decoder_learns, discriminator_learns = game.who_learns(costs, self.equilibrium, self.margin)
        has_begun = self._step() >= self.start
        decoder_learns |= ~has_begun
        if not self._has_similarity:
            discriminator_learns &= has_begun
        numbers |= verdict.told
        numbers |= {
            "discriminator_loss": judging,
            "adversarial_loss": adversarial,
            "adversarial_weight": weight,
            "decoder_waits": 1.0 - tf.cast(decoder_learns, tf.float32),
            "discriminator_waits": 1.0 - tf.cast(discriminator_learns, tf.float32),
        }
        is_won = game.has_won(costs, self.equilibrium) & has_begun
        return Round(terms, loss, extra, gradients, judged, decoder_learns, discriminator_learns, is_won, numbers)

    def _penalty(self, real: tf.Tensor, terms: Terms) -> tf.Tensor:
        """R1: r1_weight / 2 E|grad D(x)|^2 over data."""
        if not self.r1_weight:
            return tf.zeros(())
        return self.r1_weight * terms.mean(discriminators.steepness(self.discriminator, real))

    def _weight(self, gradients: dict[int, Any], of_game: dict[int, Any], scale: tf.Tensor) -> tf.Tensor:
        """lambda, from scaled gradients of this replica."""
        weight = tf.cast(schedules.at_step(self.adversarial_weight, self._step()), tf.float32)
        if self.adaptive:
            num_values, kernel = math.prod(self.decoder.event_shape), self.decoder.output_layer.kernel
            weight *= pulls.balance(kernel, gradients, of_game, scale, num_values)
        return tf.where(self._step() >= self.start, weight, 0.0)

    def update(self, checked: CheckedStep, variables: Sequence[keras.Variable], taken: Round) -> None:  # type: ignore[override]
        """A step of encoder and prior, of the decoder unless it waits, and of the discriminator unless it waits."""
        skipped = checked.skipped
        super().update(_unless(checked, ~taken.decoder_learns), variables, taken)
        of_decoder = {id(variable) for variable in self.decoder.trainable_variables}
        pairs = zip(checked.gradients, variables, strict=True)
        others = [(g, v) for g, v in pairs if id(v) not in of_decoder]
        if others and (self.margin is not None):
            alone = CheckedStep([g for g, _ in others], checked.reason)
            super().update(_unless(alone, taken.decoder_learns), [v for _, v in others], taken)
        self.update_discriminator(taken.discriminator_gradients, skipped | ~taken.discriminator_learns)
        if self.patience is not None:
            is_due = renewal.count_wins(self.lead, taken.is_won, skipped, self.patience)
            self.resets.assign_add(tf.cast(is_due, tf.int64))
            seed = seeds.fold_in(self.seed, NEW_WEIGHTS, self._step())
            renewal.draw_anew(is_due, self.discriminator.trainable_variables, self.discriminator_optimizer, seed)
        counts = {name: tf.where(skipped, 0.0, value) for name, value in taken.numbers.items()}
        weight = tf.where(skipped, 0.0, taken.terms.total_weight)
        for name, mean in self._game.items():
            if name in counts:
                mean.update_state(counts[name], sample_weight=weight)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step of all three."""
        logs = super().train_step(data)
        unused = () if self._has_similarity else ("similarity",)
        numbers = {name: mean.result() for name, mean in self._game.items() if name not in unused}
        if self.patience is not None:
            numbers["discriminator_resets"] = tf.cast(tf.convert_to_tensor(self.resets), tf.float32)
        return {**logs, **replicas.for_keras(numbers)}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Those of every VAE, and the numbers of the game."""
        return [*super().metrics, *self._game.values()]


def _scalar(loss: tf.Tensor) -> tf.Tensor:
    """What a layer adds to the loss, as one number."""
    return tf.reduce_sum(tf.cast(loss, tf.float32))


def _unless(checked: CheckedStep, waits: tf.Tensor) -> CheckedStep:
    """The step, left out where a side waits."""
    return CheckedStep(checked.gradients, tf.where(waits, 1, checked.reason))
