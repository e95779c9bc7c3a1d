"""CascadeVAE: continuous latents that are released one after another, and a discrete code found by assignment.

After Jeong and Song 2019, "Learning discrete and continuous factors of data via alternating disentanglement".
"""

from typing import Any

import numpy as np
import tensorflow as tf
from scipy.optimize import linear_sum_assignment
from tensorflow_probability import distributions as tfd

from keras_vae import internals, seeds
from keras_vae.arguments import check_count, check_number
from keras_vae.distributions.joint import Joint
from keras_vae.distributions.one_hot import OneHot
from keras_vae.models.decoder import Decoder
from keras_vae.models.encoder import Encoder
from keras_vae.models.inference import blocks, rows_at_once
from keras_vae.models.vae import VAE
from keras_vae.objectives.information_cascade import InformationCascade
from keras_vae.objectives.objective import Objective
from keras_vae.priors.joint import JointPrior
from keras_vae.priors.one_hot import UniformOneHot
from keras_vae.priors.prior import Prior
from keras_vae.seeds import Seed
from keras_vae.serialization import register
from keras_vae.terms import Terms, latent_groups


@register
class CascadeVAE(VAE):
    """A VAE of continuous latents z and a discrete code d that has no encoder; the decoder sees the vector [z, d].

    For a minibatch and the draws of z, u[n, k] = log p(x_n | z_n, e_k). The codes of the minibatch maximise

        sum_n u[n, d_n] - pair_cost (number of pairs of examples with equal codes),

    exactly (see `assign`), and one gradient step follows with the codes fixed. Elsewhere (validation, `encode`,
    `reconstruct`) d = argmax_k u[n, k] at the mean of q(z|x): a point mass q(d|x), whose KL to the uniform p(d) is
    log S, so that `elbo` is a bound on log p(x). Until step `switch_on` the decoder sees zeros in place of d.

    The order of events is that of the authors' code (https://github.com/snu-mllab/DisentanglementICML19, both models):
    z_1 is released from the start, another latent with each further stage (`InformationCascade`), and the stage in
    which d begins releases none. At a release, and only there, the optimizer starts afresh, as theirs has an Adam for
    each. (A learning-rate schedule counts the optimizer's steps and starts afresh with it. Theirs never moves.)

    Args:
        encoder: q(z|x), with a posterior that factorises: m latents, 6 in the paper (10 without a discrete code).
        decoder: p(x|z, d), its input of m + S numbers.
        prior: p(z), of m latents; `prior` of the model is that of [z, d].
        objective: an `InformationCascade`, with its defaults unless given.
        seed: of the noise.
        num_classes: S, the number of classes of d; None for a model without d.
        pair_cost: 0.001 in the paper.
        switch_on: the step at which d begins, 80,000 in the paper: the fifth stage. The cascade stands still for one
            stage from there.
        gradient_skip_norm: as in `VAE`.

    Raises:
        ValueError: as in `VAE`, and for another objective or impossible numbers.
    """

    # Before the code is switched on, the decoder sees zeros in its place, and draws of `impute` would not.
    takes_missing = False

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        prior: Prior,
        objective: Objective | None = None,
        seed: int | None = None,
        num_classes: int | None = 3,
        pair_cost: float = 0.001,
        switch_on: int = 80_000,
        gradient_skip_norm: float | None = None,
        **kwargs: Any,
    ) -> None:
        objective = InformationCascade() if objective is None else objective
        if not objective.releases_latents:
            raise ValueError(
                f"CascadeVAE is trained with objectives.InformationCascade, not {type(objective).__name__}."
            )
        super().__init__(encoder, decoder, prior, objective, seed, gradient_skip_norm, **kwargs)
        self.num_classes = None if num_classes is None else check_count("num_classes", num_classes, at_least=2)
        self.pair_cost = check_number("pair_cost", pair_cost, at_least=0)
        self.switch_on = check_count("switch_on", switch_on, at_least=0)
        # The assignment is computed by scipy, outside of the graph, which XLA cannot compile.
        self.supports_jit = self.num_classes is None
        if self.condition is not None or decoder.needs_features:
            raise ValueError("CascadeVAE is for one level of latents and no condition.")
        if self.num_classes is not None:
            self.prior = JointPrior(prior, UniformOneHot(self.num_classes))

    def infer(
        self,
        x: Any,
        num_samples: int = 1,
        seed: Seed | None = None,
        condition: Any = None,
        training: bool = False,
        target: Any = None,
    ) -> Terms:
        """As in `VAE`: two groups of latents, z and the code d."""
        if self.num_classes is None:
            return super().infer(x, num_samples, seed, condition, training, target)
        self._ensure_built()
        x = tf.cast(x, tf.float32)
        # The code is the one under which the target is most likely.
        target = x if target is None else tf.cast(target, tf.float32)
        q = self.encoder(x, training=training)
        point = self.encoder.posterior.point(q)[tf.newaxis]
        z = point if seed is None else q.sample(num_samples, seed=seeds.as_pair(seed))
        code = self._code(target, z if training else point, assigned=training)
        likelihood = self.decoder(_beside(z, self._shown(code)), training=training)
        p = self.prior.distribution(encoder=self.encoder)
        densities = (*self.encoder.posterior.densities, True)
        groups = latent_groups(Joint([q, OneHot.certain(code)]), p, _beside(z, code), densities=densities)
        return Terms(likelihood.log_prob(target), groups, likelihood, target=target)

    @property
    def certainties(self) -> tuple[bool, ...]:
        """As in `VAE`, and the code, which is one for each example."""
        return (*super().certainties, *([] if self.num_classes is None else [True]))

    def draw_latents(self, n: int, seed: tf.Tensor, condition: tf.Tensor | None, temperature: float) -> tf.Tensor:
        """As in `VAE`: n draws of [z, d]."""
        full = super().draw_latents(n, seed, condition, temperature)
        if self.num_classes is None:
            return full
        z, code = tf.split(full, [-1, self.num_classes], axis=-1)
        return tf.concat([z, self._shown(code)], axis=-1)

    def with_code(self, x: tf.Tensor, q: tfd.Distribution) -> tfd.Distribution:
        """q(z|x) beside the point mass at d = argmax_k log p(x | mean of z, e_k): batch [B], event [m + S]."""
        if self.num_classes is None:
            return q
        point = self.encoder.posterior.point(q)
        # As many passes through the decoder as there are codes: of many examples in blocks.
        each = blocks(x.shape[0], rows_at_once(self)) if tf.executing_eagerly() else [slice(None)]
        codes = [self._code(x[rows], point[rows][tf.newaxis], assigned=False) for rows in each]
        return Joint([q, OneHot.certain(tf.concat(codes, axis=0))])

    def weights_at(self, step: int) -> tuple[float, ...]:
        """As in `VAE`, by the clock of the cascade, and whether the code is on."""
        clock = int(self._clock(tf.constant(step, tf.int64)))
        return (*super().weights_at(clock), float(self.num_classes is not None and step >= self.switch_on))

    def objective_step(self) -> tf.Tensor:
        """The clock of the cascade, which stands still in the stage that begins with the switch-on."""
        return self._clock(self._step())

    def _clock(self, step: tf.Tensor) -> tf.Tensor:
        if self.num_classes is None:
            return step
        objective: Any = self.objective
        last = tf.cast(self.switch_on - 1, step.dtype)
        return tf.where(step <= last, step, tf.maximum(last, step - objective.stage))

    @property
    def _is_on(self) -> tf.Tensor:
        return self._step() >= self.switch_on

    def _shown(self, code: tf.Tensor) -> tf.Tensor:
        """What the decoder sees of the code: zeros before the switch-on."""
        return code * tf.cast(self._is_on, tf.float32)

    def _code(self, x: tf.Tensor, z: tf.Tensor, assigned: bool) -> tf.Tensor:
        """The codes as one-hots [B, S], without a gradient: assigned to the batch, or each example's own best."""

        def assignment() -> tf.Tensor:
            index = tf.numpy_function(lambda u: assign(u, self.pair_cost), [self.unary(x, z)], tf.int64)
            return tf.reshape(index, tf.shape(x)[:1])

        if assigned:
            # Before the switch-on nobody sees it, and it is not worth S passes through the decoder.
            index = tf.cond(self._is_on, assignment, lambda: tf.zeros(tf.shape(x)[:1], tf.int64))
        else:
            index = tf.argmax(self.unary(x, z), axis=-1)
        return tf.stop_gradient(tf.one_hot(index, self.num_classes))

    def unary(self, x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """u[n, k] = log p(x_n | z_n, e_k), [B, S], a mean over the K draws z [K, B, m]; without dropout."""
        columns = []
        for code in tf.unstack(tf.eye(self.num_classes)):
            likelihood = self.decoder(_beside(z, code), training=False)
            columns.append(tf.reduce_mean(likelihood.log_prob(x), axis=0))
        return tf.stack(columns, axis=-1)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One update, with a fresh optimizer where a latent has just been released."""
        self._ensure_built()
        step, size = self._step(), self.encoder.latent_dim
        objective: Any = self.objective
        before = objective.num_released(self._clock(tf.maximum(step - 1, 0)), size)
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        fresh = objective.num_released(self._clock(step), size) > before
        for variable in internals.optimizer_memory(self.optimizer):
            value = tf.convert_to_tensor(variable)
            variable.assign(tf.where(fresh, tf.zeros_like(value), value))
        return super().train_step(data)


def assign(unary: np.ndarray, pair_cost: float) -> np.ndarray:
    """The codes d that maximise sum_n unary[n, d_n] - pair_cost sum_{n < m} [d_n = d_m], exactly.

    A class that is taken c times costs pair_cost c (c - 1) / 2 = pair_cost (0 + 1 + ... + (c - 1)). So each class
    becomes B columns of a rectangular assignment, copy r = 0, 1, ... at r pair_cost more than the first: copies are
    taken in order of their cost, which makes the optimum of the one that of the other. The paper solves the same
    problem as a flow of minimum cost.

    Args:
        unary: [B, S].
        pair_cost: >= 0.

    Returns:
        int64 [B], in 0 ... S - 1.
    """
    size, classes = unary.shape
    if not np.all(np.isfinite(unary)):
        # The step is skipped for its loss: here nothing may stop.
        return np.zeros(size, np.int64)
    gain = unary[:, :, np.newaxis].astype("float64") - pair_cost * np.arange(size)
    _, columns = linear_sum_assignment(-gain.reshape(size, classes * size))
    return np.asarray(columns // size, np.int64)


def _beside(z: tf.Tensor, code: tf.Tensor) -> tf.Tensor:
    """[z, d] for z [..., m] and codes [S] or [B, S]."""
    shape = tf.concat([tf.shape(z)[:-1], tf.shape(code)[-1:]], axis=0)
    return tf.concat([z, tf.broadcast_to(code, shape)], axis=-1)
