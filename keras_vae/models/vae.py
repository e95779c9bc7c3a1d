"""The variational autoencoder: the Keras model that users fit."""

import math
import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae import arguments, conditions, seeds
from keras_vae.conditions import condition_for
from keras_vae.data.batches import IMAGE, unpack
from keras_vae.distributions.gaussian import cooled
from keras_vae.models.decoder import Decoder
from keras_vae.models.encoder import Encoder
from keras_vae.models.ladder import LadderDecoder
from keras_vae.models.learner import Learner
from keras_vae.models.matching import check_parts
from keras_vae.objectives.elbo import ELBO
from keras_vae.objectives.objective import Objective
from keras_vae.posteriors.deterministic import Deterministic
from keras_vae.priors.prior import Prior
from keras_vae.seeds import Seed
from keras_vae.serialization import Serializable, register
from keras_vae.terms import Terms, latent_groups, pathwise

# Draws of one call of `log_prob` are taken in chunks of about this many values of x, to bound the memory.
CHUNK_VALUES = 2**24


class Generated(NamedTuple):
    """Draws from the model: z from the prior, [n, L], and p(x|z), batch [n]."""

    z: tf.Tensor
    likelihood: tfd.Distribution


@register
class VAE(Serializable, Learner, keras.Model):
    """log p(x) >= E_q(z|x)[log p(x|z)] - KL(q(z|x) || p(z)), maximised by `fit`.

    After Kingma and Welling 2014, "Auto-encoding variational Bayes". All reported numbers are in nats per example:
    summed over the event, averaged over the examples (weighted by `sample_weight` if given).

    Parts made with `condition=` (see `keras_vae.conditions`) make it a model of log p(x|c): `fit` and its kin then take
    (x, c) or {"image": x, "condition": c}.

    `fit` and `evaluate` report `loss` (the objective), and, whatever the objective weighs, `elbo`, `log_likelihood`
    and `kl`. Noise is stateless, a function of (`seed`, the model's own step, the replica).

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

    Raises:
        ValueError: if posterior and prior differ in `latent_dim`, or the support of the posterior is not inside the
            prior's, where KL(q || p) is infinite; for a `Deterministic` posterior with another objective than
            `Reconstruction`.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        prior: Prior,
        objective: Objective | None = None,
        seed: int | None = None,
        gradient_skip_norm: float | None = None,
        **kwargs: Any,
    ) -> None:
        # An automatic cast to half precision would round the data before their likelihood is taken.
        super().__init__(autocast=False, **kwargs)
        objective = ELBO() if objective is None else objective
        check_parts(encoder, decoder, prior, objective)
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior
        self.objective = objective
        self.seed = random.randrange(2**31) if seed is None else seed
        self.gradient_skip_norm = arguments.check_threshold(gradient_skip_norm)
        self._prepare_learning()

    def build(self, input_shape: tuple | None = None) -> None:
        """Make the weights of all parts; the shape of the data is the likelihood's event shape."""
        if self.built:
            return
        if isinstance(input_shape, Mapping):
            input_shape = input_shape[IMAGE]
        shape = (None, *self.decoder.event_shape)
        if input_shape is not None and tuple(input_shape[1:]) != shape[1:]:
            raise ValueError(
                f"The data have shape {tuple(input_shape[1:])} per example, but the likelihood was made for "
                f"{shape[1:]}."
            )
        self.encoder.build(shape)
        self.decoder.build((None, self.prior.latent_dim))
        self.prior.build(shape)
        if isinstance(self.decoder, LadderDecoder):
            self.decoder.build_posteriors(self.encoder.feature_shapes)

    def get_build_config(self) -> dict[str, Any]:
        """The shape of the data. Built here if need be: an unbuilt model would reload with other weights."""
        self._ensure_built()
        return {"input_shape": (None, *self.decoder.event_shape)}

    def get_config(self) -> dict[str, Any]:
        """The parts and the seed that is in use."""
        return {**super().get_config(), "seed": self.seed}

    @property
    def num_levels(self) -> int:
        """Number of levels of latents: 1 unless the model is a hierarchy."""
        self._ensure_built()
        return 1 + len(getattr(self.decoder, "levels", ()))

    @property
    def kl_is_exact(self) -> bool:
        """Whether KL(q(z|x) || p(z)) has a closed form; if not, it is a mean over the draws."""
        nothing = np.zeros((1, *self.decoder.event_shape), "float32")
        condition = None if self.condition is None else self.condition.zeros(1)
        return all(group.kl_is_exact for group in self.infer(nothing, seed=0, condition=condition).groups)

    def save(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Build if need be, and save."""
        self._ensure_built()
        super().save(filepath, overwrite=overwrite, **kwargs)

    # The two seams: everything below is made of them.

    def infer(
        self,
        x: tf.Tensor,
        num_samples: int = 1,
        seed: Seed | None = None,
        condition: tf.Tensor | None = None,
        training: bool = False,
    ) -> Terms:
        """From data to the terms of an objective.

        Args:
            x: data [B, *event_shape], float32.
            num_samples: number K of draws from the posterior for each example.
            seed: of the draws; None takes the posterior's point instead of draws (then K is 1).
            condition: one for each example, or one for all; of a conditional model.
            training: passed on to the networks.
        """
        self._ensure_built()
        x = tf.cast(x, tf.float32)
        condition = conditions.given(self.condition, condition, x.shape[0])
        q, features = self.encoder.ascend(x, condition=condition_for(self.encoder, condition), training=training)
        p = self.prior.distribution(encoder=self.encoder, condition=condition_for(self.prior, condition))
        if seed is None:
            point = self.encoder.posterior.point(q)
            # At the very tensor that a flow gave: it remembers where that came from, and inverts nothing.
            z, log_q = point[tf.newaxis], q.log_prob(point)[tf.newaxis]
        else:
            z, log_q = q.experimental_sample_and_log_prob(num_samples, seed=seeds.as_pair(seed))

        extras = getattr(q, "extras", {})

        def terms_at(z: tf.Tensor, log_q: tf.Tensor | None = None) -> Terms:
            likelihood, groups = self.decoder.descend(
                z, features, seed, condition_for(self.decoder, condition), training
            )
            return Terms(likelihood.log_prob(x), [*latent_groups(q, p, z, log_q), *groups], likelihood, extras=extras)

        if training and "pathwise" in self.objective.needs:
            return pathwise(terms_at, z)
        return terms_at(z, log_q)

    def generate(
        self,
        n: int,
        seed: Seed | None = None,
        condition: tf.Tensor | None = None,
        temperature: float = 1.0,
    ) -> Generated:
        """From the prior to data: n draws z ~ p(z), and p(x|z).

        Args:
            n: number of draws.
            seed: an int or a pair of int32; None for other draws at each call.
            condition: one for each draw, or one for all; of a conditional model.
            temperature: factor on the standard deviation of every Gaussian prior; the mean at 0.

        Raises:
            ValueError: for a temperature other than 1 where the prior of the top level is no Gaussian.
        """
        self._ensure_built()
        seed = seeds.as_pair(seed)
        condition = conditions.given(self.condition, condition, n)
        p = self.prior.distribution(encoder=self.encoder, condition=condition_for(self.prior, condition))
        # Given a condition, the prior is a batch of n distributions.
        z = cooled(p, p.sample(() if p.batch_shape.rank else n, seed=seed), temperature)
        return Generated(z, self.decoder.generate(z, seed, condition_for(self.decoder, condition), temperature))

    # What users call.

    def call(self, x: Any, condition: Any = None, training: bool | None = None) -> tf.Tensor:
        """Reconstructions: means of p(x|z) at the point of q(z|x), shaped like `x`.

        Args:
            x: data [B, *event_shape], or {"image": data, "condition": conditions}.
            condition: in the first case, of a conditional model.
            training: passed on to the networks.
        """
        if isinstance(x, Mapping):
            x, condition, _ = unpack(x, conditional=True)
        return self.infer(x, condition=condition, training=bool(training)).likelihood.mean()[0]

    def predict_step(self, data: Any) -> tf.Tensor:
        """Reconstructions of a batch."""
        x, condition, _ = unpack(data, self.condition is not None)
        return self(x, condition=condition, training=False)

    def encode(self, x: Any, condition: Any = None) -> tfd.Distribution:
        """q(z|x), batch [B], event [L]; the condition is one for each example, or one for all."""
        self._ensure_built()
        x = tf.cast(x, tf.float32)
        condition = conditions.given(self.condition, condition, x.shape[0])
        return self.complete(x, self.encoder(x, condition=condition_for(self.encoder, condition)))

    def complete(self, x: tf.Tensor, q: tfd.Distribution) -> tfd.Distribution:
        """q(z|x) of all of z, from what the encoder gives: that itself, unless a part of z has no encoder."""
        return q

    def decode(self, z: Any, condition: Any = None) -> tfd.Distribution:
        """p(x|z), batch z.shape[:-1], event `event_shape`; the condition is one for each z [..., B, L], or for all."""
        self._ensure_built()
        z = tf.cast(z, tf.float32)
        condition = conditions.given(self.condition, condition, z.shape[-2] if z.shape.rank > 1 else 1)
        return self.decoder(z, condition=condition_for(self.decoder, condition))

    def reconstruct(self, x: Any, condition: Any = None) -> np.ndarray:
        """Means of p(x|z) at the point (the mean) of q(z|x), an array shaped like `x`."""
        return _array(self.infer(x, condition=condition).likelihood.mean()[0])

    def sample(self, n: int, seed: Seed | None = None, condition: Any = None, temperature: float = 1.0) -> np.ndarray:
        """Means of p(x|z) for n draws z ~ p(z), [n, *event_shape]; the same seed gives the same images.

        A temperature below 1 draws nearer to the means of Gaussian priors: less varied, more typical images.
        """
        return _array(self.generate(n, seed, condition, temperature).likelihood.mean())

    def log_prob(self, x: Any, num_samples: int = 100, seed: Seed | None = 0, condition: Any = None) -> np.ndarray:
        """Importance-weighted estimate of log p(x), [B], in nats.

        log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x): a lower bound in expectation, which rises to log p(x)
        with K = `num_samples` (Burda et al. 2016, "Importance weighted autoencoders").

        Args:
            x: data [B, *event_shape].
            num_samples: K.
            seed: of the draws.
            condition: what the model is conditioned on.

        Raises:
            ValueError: for data outside the support of the likelihood, and for a posterior without a density.
        """
        if isinstance(self.encoder.posterior, Deterministic):
            raise ValueError(
                "A Deterministic posterior has no density, so that log p(x) cannot be estimated from it: a plain "
                "autoencoder is judged by its reconstructions (evaluate)."
            )
        self._ensure_built()
        x = _array(x)
        self.decoder.likelihood.check(x)
        if len(x) == 0:
            return np.zeros(0, "float32")
        condition = conditions.given(self.condition, condition, len(x))
        chunk = max(1, min(num_samples, CHUNK_VALUES // max(x.size, 1)))
        total = tf.fill([len(x)], -math.inf)
        for start in range(0, num_samples, chunk):
            size = min(chunk, num_samples - start)
            part = self._log_weights(tf.constant(x), size, seeds.fold_in(seed, start), condition)
            total = tfp.math.log_add_exp(total, tf.reduce_logsumexp(part, axis=0))
        return _array(total - math.log(num_samples))

    @tf.function(reduce_retracing=True)
    def _log_weights(self, x: tf.Tensor, num_samples: int, seed: tf.Tensor, condition: Any = None) -> tf.Tensor:
        return self.infer(x, num_samples, seed, condition=condition).log_weights


def _array(values: Any) -> np.ndarray:
    """As numpy, so that results are arrays; inside a graph, where that is impossible, the tensor itself."""
    return np.asarray(values) if tf.executing_eagerly() else values
