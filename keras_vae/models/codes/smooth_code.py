"""A discrete code that does not change within a neighbourhood of x: virtual adversarial training."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import schedules, seeds
from keras_vae.arguments import check_number, check_weight
from keras_vae.conditions import handed
from keras_vae.conditions.handed import condition_for
from keras_vae.distributions.joint import leaves
from keras_vae.models.decoder import Decoder
from keras_vae.models.encoder import Encoder
from keras_vae.models.vae import VAE
from keras_vae.objectives.objective import Objective
from keras_vae.priors.prior import Prior
from keras_vae.schedules import Schedule, Weight
from keras_vae.serialization import register
from keras_vae.terms import Terms
from keras_vae.training.replicas import fill_if_empty

# Folded into the seed of a batch: of directions, and of nothing else.
DIRECTIONS = 0x736D
TINY = 1e-12


@register
class SmoothCodeVAE(VAE):
    """loss = objective + w E_x KL(q(d|x) || q(d|x + r)), where r of length R changes the code most.

    The code d is a one-hot of the latents, or, where the prior is a mixture, its component: p(c|z) at the point z of
    q(z|x).

    A code that says all it can, log S nats, may cut the data anywhere. The term keeps its borders out of where data
    are, so that it finds what lies apart. r is found by one step of a power iteration, which is the gradient of the
    divergence at a random point at R / 2 from x, and needs no label: Miyato et al. 2018, "Virtual adversarial
    training". With the information of the code as the other half of the loss it is the clustering of Hu et al. 2017,
    "Learning discrete representations via information maximizing self-augmented training". That half is in
    `objectives.JointCapacity` for a one-hot, in `objectives.ClusteredELBO` for a component.
    `posteriors.RelaxedOneHot(detached_steps=...)` lets a one-hot find its classes before it serves the likelihood,
    which knows many other ways to use one.

    What makes no other class of an image can be told by an encoder that draws a distortion anew in each pass, as
    `networks.distorted` does: the two codes are then of two views of x. Digits take it (`keras-vae train mnist_joint`,
    `keras-vae train mnist_clusters`). r is found for x as it is, without distortion: the way from the code of one view
    to that of another would tell the network which code the first has, and what no two views share would look smooth.

    Args:
        encoder: q(z, d|x), of which a block is a one-hot; any q(z|x) if the prior has clusters.
        decoder: p(x|z, d).
        prior: p(z, d), or one of clusters, such as `priors.NormalMixture`.
        objective: the rest of the loss; the ELBO unless told otherwise.
        seed: of the noise.
        smoothness_weight: w, a number or a schedule of the step. From the start it may hold the code at uniform:
            `schedules.Linear(500, 0.0, 30.0)`.
        radius: R, in units of the Euclidean length of x: what changes no class. Of binary MNIST, 2.
        gradient_skip_norm: as in `VAE`.

    Raises:
        ValueError: as in `VAE`, for a hierarchy, with neither one-hot nor clusters, and for a wrong weight or radius.
    """

    smoothness_weight = Weight()

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        prior: Prior,
        objective: Objective | None = None,
        seed: int | None = None,
        smoothness_weight: float | Schedule = 30.0,
        radius: float = 2.0,
        gradient_skip_norm: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, decoder, prior, objective, seed, gradient_skip_norm, **kwargs)
        if decoder.needs_features:
            raise ValueError("SmoothCodeVAE is for one level of latents: give an Encoder and a Decoder.")
        if not (prior.num_clusters or any(kind == "one-hot" for kind, _ in prior.blocks)):
            raise ValueError(
                "SmoothCodeVAE is for a discrete code, and the latents of this model have none: give "
                "posteriors.JointPosterior(..., posteriors.RelaxedOneHot(10)) and a prior like it, or a prior of "
                f"clusters, priors.NormalMixture({prior.latent_dim}, 10)."
            )
        check_weight("smoothness_weight", smoothness_weight)
        self.smoothness_weight = smoothness_weight
        self.radius = check_number("radius", radius, above=0)

    def compute_objective(
        self,
        x: tf.Tensor,
        condition: tf.Tensor | None,
        sample_weight: tf.Tensor | None,
        seed: tf.Tensor,
        training: bool,
        target: tf.Tensor | None = None,
    ) -> tuple[Terms, tf.Tensor, dict[str, tf.Tensor]]:
        """As in `VAE`, with the term that keeps the code smooth."""
        terms, loss, extra = super().compute_objective(x, condition, sample_weight, seed, training, target)
        (x, condition), _ = fill_if_empty(tf.cast(x, tf.float32), condition)
        condition = condition_for(self.encoder, handed.given(self.condition, condition, x.shape[0]))
        fixed = [_fixed(code) for group in terms.groups for code in self._codes(group.q)]

        def codes(seen: tf.Tensor, training: bool) -> list[tfd.Distribution]:
            q = leaves(self.encoder(seen, condition=condition, training=training))
            return [code for part in q for code in self._codes(part)]

        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        direction = tf.random.stateless_normal(tf.shape(x), seeds.fold_in(seed, DIRECTIONS, replica))
        probe = tf.stop_gradient(x + 0.5 * self.radius * _of_length_one(direction))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(probe)
            divergence = _divergence([_fixed(q) for q in codes(x, False)], codes(probe, False))
        worst = _of_length_one(tf.stop_gradient(tape.gradient(divergence, probe)))
        smoothness = terms.mean(_divergence(fixed, codes(x + self.radius * worst, training)))
        return terms, loss + schedules.at_step(self.smoothness_weight, self._step()) * smoothness, extra

    def _codes(self, q: tfd.Distribution) -> list[tfd.Distribution]:
        """The distributions of classes, batch [B], that a block of latents has: none, or one."""
        if hasattr(q, "class_probabilities"):
            return [q]
        if not self.prior.num_clusters:
            return []
        z = self.encoder.posterior.point(q)
        return [self.prior.distribution(encoder=self.encoder).posterior_marginal(z)]


def _fixed(q: tfd.Distribution) -> tfd.Distribution:
    """The same distribution of a class, without a gradient."""
    return type(q)(tf.stop_gradient(q.logits))


def _divergence(p: list[Any], q: list[Any]) -> tf.Tensor:
    """KL(p || q), [B], summed over the codes."""
    return tf.add_n([tfd.kl_divergence(each, other) for each, other in zip(p, q, strict=True)])


def _of_length_one(x: tf.Tensor) -> tf.Tensor:
    """x [B, ...], each example divided by its Euclidean length."""
    axes = list(range(1, x.shape.rank))
    return x / (tf.sqrt(tf.reduce_sum(tf.square(x), axis=axes, keepdims=True)) + TINY)
