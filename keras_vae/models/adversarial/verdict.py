"""What a discriminator says of the pictures of one step, as means over the examples of this replica."""

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_vae.models.adversarial import game
from keras_vae.terms import Terms


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Logits of data and of what the decoder made, and what follows from them for each side.

    Attributes:
        kind: "cross_entropy" or "hinge".
        terms: of the batch, whose examples may have weights; draws from the prior belong to no example, and have none.
        logits: of x [B, ...], of x~ from q(z|x) [K B, ...], and of x~ from p(z) [B, ...] if any were drawn.
    """

    kind: str
    terms: Terms
    logits: Sequence[tf.Tensor]

    @property
    def cost_of_real(self) -> tf.Tensor:
        """What the discriminator pays for x."""
        return self._mean(game.cost_of_real(self.kind, self.logits[0]))

    @property
    def cost_of_made(self) -> tf.Tensor:
        """What it pays for x~: the mean of what it pays for reconstructions and for draws."""
        return self._of_made(game.cost_of_made)

    @property
    def cost_of_maker(self) -> tf.Tensor:
        """A: what the decoder pays for x~, of both likewise."""
        return self._of_made(game.cost_of_maker)

    @property
    def told(self) -> dict[str, tf.Tensor]:
        """Shares of data, of reconstructions and of draws that the discriminator is right about."""
        real, made, *drawn = self.logits
        shares = [self._mean(game.told(real, True)), self._mean(game.told(made, False))]
        shares += [tf.reduce_mean(game.told(logits, False)) for logits in drawn]
        return dict(zip(("told_real", "told_reconstructed", "told_drawn"), shares, strict=False))

    def _of_made(self, cost: Callable[[str, tf.Tensor], tf.Tensor]) -> tf.Tensor:
        made, *drawn = (cost(self.kind, logits) for logits in self.logits[1:])
        return tf.add_n([self._mean(made), *map(tf.reduce_mean, drawn)]) / (1 + len(drawn))

    def _mean(self, values: tf.Tensor) -> tf.Tensor:
        """Over all examples, of [K B], K for each."""
        return self.terms.mean(tf.reduce_mean(tf.reshape(values, [-1, tf.shape(self.logits[0])[0]]), axis=0))
