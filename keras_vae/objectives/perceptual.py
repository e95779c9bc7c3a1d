"""A loss of features of a network beside the loss of values: pictures that look alike, and not only pixel by pixel."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import schedules
from keras_vae.arguments import check_weight, require_kind
from keras_vae.networks.feature_network import FeatureNetwork
from keras_vae.objectives.elbo import ELBO
from keras_vae.objectives.objective import Objective
from keras_vae.schedules import Schedule, Weight
from keras_vae.serialization import register
from keras_vae.terms import Terms

# Images that a network of the objective's own learns from.
NUM_IMAGES = 4096


@register
class Perceptual(Objective):
    """loss = another objective + w D / 2 sum_l |f_l(x) - f_l(y)|^2 / (L n_l), y the mean of p(x|z).

    f_l(x) are the n_l features of an image that the l-th of L outputs of a network gives, D the number of values of x.
    With features of variance 1, and w = 1, they count as much as values of x under a normal distribution of unit
    variance would. Johnson et al. 2016, "Perceptual losses for real-time style transfer and super-resolution" (the
    feature reconstruction loss); Hou et al. 2017, "Deep feature consistent variational autoencoder".

    Errors that are small in every pixel, such as a blur, may be large in features of edges and textures. The ELBO knows
    nothing of this: `elbo`, `log_likelihood` and `kl` are those of the model, and `perceptual`, the added term without
    its weight, stands beside them. A larger w buys nearer features for a lower ELBO; of too large a one colours fade.

    The network is frozen, and saved with the model. It is called with images as the model sees them, at full precision.

    Args:
        features: a Keras layer or model from images [B, H, W, C] to one tensor [B, ...] or a list of them, such as
            `keras.applications` with your weights, cut at the layers that you want. None makes a
            `networks.FeatureNetwork`, which learns from the data, without labels, when the model is adapted to them:
            `fit` does so at the start, in half a minute.
        weight: w, a number or a schedule of the step.
        base: the rest of the loss; `objectives.ELBO()` unless told otherwise.

    Raises:
        TypeError: for features that are no Keras layer.
        ValueError: for an objective that weighs the gradients of encoder and decoder differently (stl and dreg), is of
            a model of one kind (`InformationCascade`), or is a `Perceptual` itself.
    """

    weight = Weight()

    def __init__(
        self,
        features: keras.Layer | None = None,
        weight: float | Schedule = 0.1,
        base: Objective | None = None,
    ) -> None:
        base = ELBO() if base is None else base
        require_kind("base", base, Objective, "a keras_vae objective, such as objectives.ELBO()")
        if features is not None:
            require_kind("features", features, keras.Layer, "a Keras layer or model from images to features, or None")
        check_weight("weight", weight)
        if "pathwise" in base.needs:
            raise ValueError(
                f"Perceptual goes with objectives whose gradient is that of one loss: give "
                f'{type(base).__name__}(..., estimator="iwae"), or objectives.ELBO().'
            )
        if base.releases_latents or base.networks:
            raise ValueError(
                f"Perceptual cannot stand around {type(base).__name__}: give it objectives.ELBO(), or another "
                "objective of a plain VAE."
            )
        self.features, self.weight, self.base = features, weight, base
        self.network = FeatureNetwork() if features is None else features
        self.network.trainable = False
        self.networks = (self.network,)
        self.num_examples = NUM_IMAGES if features is None else 0
        self.num_samples, self.needs = base.num_samples, base.needs
        self.metric_names = (*base.metric_names, "perceptual")
        self.uses_prior, self.uses_marginals = base.uses_prior, base.uses_marginals
        self.is_of_one_level = base.is_of_one_level

    def adapt(self, examples: np.ndarray) -> None:
        """Let a network of the objective's own learn from images."""
        if self.features is None:
            self.network.adapt(examples)

    def weights_at(self, step: int, latent_dim: int) -> tuple[float, ...]:
        """Those of the other objective, and w."""
        return (*self.base.weights_at(step, latent_dim), *schedules.weights_at(self, step))

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, the numbers of the other objective, and the perceptual term without its weight."""
        loss, extra = self.base(terms, step)
        distance = terms.mean(self.distance(terms))
        return loss + schedules.at_step(self.weight, step) * distance, {**extra, "perceptual": distance}

    def distance(self, terms: Terms) -> tf.Tensor:
        """D / 2 sum_l |f_l(x) - f_l(y)|^2 / (L n_l), [B], the mean over the K draws.

        Raises:
            ValueError: for terms of a model of one's own that do not say what the data were.
        """
        if terms.target is None:
            raise ValueError("Perceptual compares images: the terms must have them as Terms.target.")
        means = terms.likelihood.mean()
        num_samples, shape = tf.shape(means)[0], terms.target.shape[1:]
        drawn = self._maps(tf.reshape(means, [-1, *shape]))
        real = self._maps(terms.target)
        distances = []
        for x, y in zip(real, drawn, strict=True):
            y = tf.reshape(y, tf.concat([[num_samples], tf.shape(x)], axis=0))
            squares = tf.math.squared_difference(tf.stop_gradient(x)[tf.newaxis], y)
            distances.append(tf.reduce_mean(tf.reshape(squares, [num_samples, tf.shape(x)[0], -1]), axis=(0, 2)))
        return 0.5 * math.prod(shape) * tf.add_n(distances) / len(distances)

    def _maps(self, images: tf.Tensor) -> list[tf.Tensor]:
        made: Any = self.network(images, training=False)
        return [tf.cast(part, tf.float32) for part in (made if isinstance(made, (list, tuple)) else [made])]
