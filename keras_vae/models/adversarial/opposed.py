"""A VAE with a discriminator beside it, which has an optimizer of its own."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from keras_vae.models.vae import VAE
from keras_vae.training import replicas, step_guard
from keras_vae.training.step_guard import CheckedStep


class Opposed(VAE):
    """A model and a discriminator, whose weights and those of its optimizer are saved, loaded and resumed with it.

    A subclass makes `discriminator` and `discriminator_learning_rate`, and calls `build_opponent` at the end of its
    `build`.
    """

    discriminator: keras.Layer
    discriminator_learning_rate: float

    def build_opponent(self, beta_1: float, beta_2: float) -> None:
        """Make the discriminator's optimizer, Adam; the discriminator is built."""
        try:
            optimizer = keras.optimizers.Adam(self.discriminator_learning_rate, beta_1=beta_1, beta_2=beta_2)
        except ValueError:  # Keras makes none where `kv.load` counts the weights of a file without making them
            return
        self.discriminator_optimizer = optimizer
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)
        # As weights of the model they are part of every checkpoint of weights.
        self.discriminator_state = self.discriminator_optimizer.variables

    @property
    def not_trained(self) -> Sequence[keras.Variable]:
        """Weights that the model's own optimizer does not update."""
        return self.discriminator.variables

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """The weights that the model's own optimizer updates: all but the discriminator's."""
        others = {id(variable) for variable in self.not_trained}
        return [variable for variable in super().trainable_variables if id(variable) not in others]

    @property
    def non_trainable_variables(self) -> list[keras.Variable]:
        """Counters and statistics, but for the state of the discriminator's optimizer: the guard need not copy it."""
        others = {id(variable) for variable in getattr(self, "discriminator_state", ())}
        return [variable for variable in super().non_trainable_variables if id(variable) not in others]

    @property
    def monitor(self) -> str:
        """The loss, of which the ELBO is only a part."""
        return "loss"

    def yardstick(self) -> tuple[float, ...]:
        """The step: the loss holds what a discriminator makes of its input, each time another one. The last counts."""
        return (float(self._step()),)

    def update_discriminator(self, gradients: Sequence[tf.Tensor | None], waits: tf.Tensor) -> tf.Tensor:
        """Let the discriminator's optimizer take a step, and say whether it was left out.

        A batch that spoils the discriminator's input must not spoil the discriminator, on any replica.

        Args:
            gradients: of this replica's share of the loss.
            waits: whether the step is to be left out; where one replica says so, all do.
        """
        reason = tf.cast(waits | ~tf.math.is_finite(tf.linalg.global_norm(gradients)), tf.int32)
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            reason = tf.distribute.get_replica_context().all_reduce("SUM", reason)
        checked = CheckedStep(replicas.sum_gradients(gradients), reason)
        with replicas.summed_already(self.discriminator_optimizer):
            step_guard.apply(checked, self.discriminator_optimizer, self.discriminator.trainable_variables)
        return reason > 0
