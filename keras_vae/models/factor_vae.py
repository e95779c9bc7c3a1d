"""FactorVAE: total correlation by a second network that tells draws of q(z) from draws of its marginals."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_vae import schedules, seeds
from keras_vae.arguments import check_number, check_sizes, check_weight
from keras_vae.conditions.handed import condition_for
from keras_vae.data.batches import split
from keras_vae.models.adversarial.opposed import Opposed
from keras_vae.models.decoder import Decoder
from keras_vae.models.encoder import Encoder
from keras_vae.objectives.objective import Objective
from keras_vae.priors.prior import Prior
from keras_vae.schedules import Schedule, Weight
from keras_vae.serialization import register
from keras_vae.terms import Terms
from keras_vae.training import data_guard, replicas
from keras_vae.training.replicas import fill_if_empty, share_of_mean


@register
class FactorVAE(Opposed):
    """loss = objective + gamma E_q(z)[log D(z) / (1 - D(z))], with D trained beside the model.

    D is the probability that z comes from q(z) rather than from the product of its marginals, prod_j q(z_j), draws of
    which are made by permuting each dimension over the batch by itself; where D is optimal, the added term is the
    total correlation. After each step of the model, D takes one on fresh draws for the same batch. Kim and Mnih 2018,
    "Disentangling by factorising".

    `fit` also reports `discriminator_loss`, the cross-entropy of D in nats: log 2 = 0.69 where it cannot tell the two
    apart. The weights of D and of its optimizer are part of the model: saved, loaded and resumed with it.

    Args:
        encoder: q(z|x).
        decoder: p(x|z).
        prior: p(z).
        objective: the rest of the loss; the ELBO unless told otherwise.
        seed: of the noise.
        tc_weight: gamma, a number or a schedule of the step.
        discriminator_units: widths of the hidden layers of D, of leaky ReLU.
        discriminator_learning_rate: of its optimizer, Adam with beta_1 = 0.5 and beta_2 = 0.9.
        gradient_skip_norm: as in `VAE`.

    Raises:
        ValueError: as in `VAE`, and for a wrong weight, size or learning rate.
    """

    tc_weight = Weight()

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        prior: Prior,
        objective: Objective | None = None,
        seed: int | None = None,
        tc_weight: float | Schedule = 10.0,
        discriminator_units: Sequence[int] = (1000,) * 6,
        discriminator_learning_rate: float = 1e-4,
        gradient_skip_norm: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, decoder, prior, objective, seed, gradient_skip_norm, **kwargs)
        if decoder.needs_features:
            raise ValueError("FactorVAE is for one level of latents: give an Encoder and a Decoder.")
        check_weight("tc_weight", tc_weight)
        self.tc_weight = tc_weight
        hidden = [
            keras.layers.Dense(n, "leaky_relu", dtype="float32")
            for n in check_sizes("discriminator_units", discriminator_units)
        ]
        self.discriminator = keras.Sequential([*hidden, keras.layers.Dense(1, dtype="float32")], name="discriminator")
        self.discriminator_learning_rate = check_number(
            "discriminator_learning_rate", discriminator_learning_rate, above=0
        )
        self._discriminator_loss = keras.metrics.Mean(name="discriminator_loss", dtype="float32")

    def build(self, input_shape: tuple | None = None) -> None:
        """Make the weights of all parts, of the discriminator and of its optimizer."""
        if self.built:
            return
        super().build(input_shape)
        self.discriminator.build((None, self.prior.latent_dim))
        self.build_opponent(beta_1=0.5, beta_2=0.9)

    def weights_at(self, step: int) -> tuple[float, ...]:
        """As in `VAE`, and the weight of the total correlation."""
        return (*super().weights_at(step), *schedules.weights_at(self, step))

    def compute_objective(self, *args: Any, **kwargs: Any) -> tuple[Terms, tf.Tensor, dict[str, tf.Tensor]]:
        """As in `VAE`, with the term of the discriminator."""
        terms, loss, extra = super().compute_objective(*args, **kwargs)
        log_ratio = tf.reduce_mean(self._log_ratio(_joined(terms)), axis=0)
        return terms, loss + schedules.at_step(self.tc_weight, self._step()) * terms.mean(log_ratio), extra

    def _log_ratio(self, z: tf.Tensor) -> tf.Tensor:
        """log D(z) / (1 - D(z)), [...], for z [..., L]."""
        flat = tf.reshape(z, [-1, self.prior.latent_dim])
        return tf.reshape(self.discriminator(flat), tf.shape(z)[:-1])

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One update of the model, then one of the discriminator."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        # The step before the update, and a number that nothing else folds in: draws of their own.
        seed = seeds.fold_in(self.seed, -2, self._step(), replica)
        logs = super().train_step(data)
        x, condition, _, _ = split(data, self.condition is not None, self.targets)
        refused = self.data_guard.has_refused(data_guard.TRAINING)
        (x,) = data_guard.harmless(refused, tf.cast(x, tf.float32))
        loss = self._update_discriminator(x, condition, seed, refused)
        self._discriminator_loss.update_state(loss)
        return {**logs, **replicas.for_keras({"discriminator_loss": self._discriminator_loss.result()})}

    def _update_discriminator(
        self, x: tf.Tensor, condition: tf.Tensor | None, seed: tf.Tensor, refused: tf.Tensor
    ) -> tf.Tensor:
        (x, condition), is_stand_in = fill_if_empty(x, condition)
        count = tf.cast(tf.shape(x)[0], tf.float32)
        if is_stand_in is not None:
            count = tf.where(is_stand_in, 0.0, count)
        q = self.encoder(x, condition=condition_for(self.encoder, condition), training=False)
        z = tf.ensure_shape(tf.stop_gradient(q.sample(seed=seed)), [None, self.prior.latent_dim])
        shuffled = permute_dimensions(z, seed)
        variables = self.discriminator.trainable_variables
        with tf.GradientTape() as tape:
            # -log D(z) - log(1 - D(z')), with D = sigmoid of the logit.
            real, fake = self._log_ratio(z), self._log_ratio(shuffled)
            loss = 0.5 * tf.reduce_mean(tf.nn.softplus(-real) + tf.nn.softplus(fake))
            shared = share_of_mean(loss, count)
        bad = self.update_discriminator(tape.gradient(shared, variables), refused)
        return tf.where(bad, 0.0, loss)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Those of every VAE, and the loss of the discriminator."""
        return [*super().metrics, self._discriminator_loss]


def permute_dimensions(z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Each dimension of z [B, L] in an order of its own: draws of the product of the marginals."""
    order = tf.argsort(tf.random.stateless_uniform(tf.shape(z), seeds.fold_in(seed, 1)), axis=0)
    return tf.transpose(tf.gather(tf.transpose(z), tf.transpose(order), batch_dims=1))


def _joined(terms: Terms) -> tf.Tensor:
    return tf.concat([group.z for group in terms.groups], axis=-1)
