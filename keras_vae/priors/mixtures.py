"""Mixtures of Gaussians, and of posteriors at learned pseudo-inputs (VampPrior)."""

import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_codes, check_count
from keras_vae.data.batches import Summary
from keras_vae.distributions.head import Head
from keras_vae.distributions.mixtures import mixture
from keras_vae.distributions.scales import positive, raw_of
from keras_vae.distributions.support import REAL
from keras_vae.distributions.tails.tail import GAUSSIAN
from keras_vae.priors.prior import Prior
from keras_vae.serialization import register

# So that a component that EM left without a code has a logarithm.
LEAST_WEIGHT = 1e-6


@register
class NormalMixture(Prior):
    """p(z) = sum_m w_m N(z; mu_m, diag(s_m^2)): a mixture of Gaussians whose weights, means and scales are learned.

    It starts near the standard normal: equal weights, means drawn with a standard deviation of one half, scales of one.
    The KL to it is sampled.

    Its components are clusters of the data if it starts from those of an encoder that was trained before (Jiang et al.
    2017, "Variational deep embedding"); from its own start it divides the data otherwise. Where those codes divide the
    classes wrongly, `objectives.ClusteredELBO` in a `kv.SmoothCodeVAE` mends it, and the ELBO does not.

        vae = kv.VAE(encoder, decoder, priors.NormalMixture(10, 10), objectives.ELBO(kl_weight=0.0))
        vae.compile(keras.optimizers.Adam(1e-3))
        vae.fit(x, epochs=20)                                    # an autoencoder
        vae.prior.adapt_to_codes(vae.encode(x).sample())
        vae.objective.kl_weight = 1.0
        vae.fit(x, epochs=20)
        cluster = vae.prior.responsibilities(vae.encode(x).mean()).numpy().argmax(axis=-1)

    Args:
        latent_dim: L.
        num_components: M.
    """

    support, tails = REAL, GAUSSIAN
    coded_as = "mixture"
    adapts_to_codes = True
    STARTS, MOST_CODES = 10, 20_000  # of the fit to codes, which needs no more of them

    def __init__(self, latent_dim: int, num_components: int, **kwargs: Any) -> None:
        super().__init__(latent_dim, **kwargs)
        self.num_components = self.num_clusters = check_count("num_components", num_components)
        self.head = Head(self._mixture, convert_to_tensor_fn=tfd.Distribution.mean)
        shape = (self.num_components, self.latent_dim)
        spread = keras.initializers.RandomNormal(stddev=0.5)
        self.logits = self.add_weight(name="logits", shape=shape[:1], initializer="zeros")
        self.loc = self.add_weight(name="loc", shape=shape, initializer=spread)
        self.raw_scale = self.add_weight(name="raw_scale", shape=shape, initializer="zeros")

    @property
    def draw_size(self) -> int:
        """TFP draws of all components, and takes one."""
        return self.num_components * self.latent_dim

    def _mixture(self, params: list[tf.Tensor]) -> tfd.Distribution:
        logits, loc, raw_scale = params
        components = tfd.MultivariateNormalDiag(loc, positive(raw_scale))
        return mixture(logits, components)

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """The mixture, batch [], event [L]."""
        weights = [tf.convert_to_tensor(w) for w in (self.logits, self.loc, self.raw_scale)]
        return self.head(weights).tensor_distribution

    def adapt_to_codes(self, codes: Any, seed: int = 0) -> None:
        """Become the mixture of diagonal Gaussians that scikit-learn fits to codes: the likeliest of ten fits by EM.

        Each begins with a k-means of its own. Of more than 20,000 codes as many are drawn.

        Args:
            codes: [N, L], draws from q(z|x) for the training examples.
            seed: of the fits.

        Raises:
            ValueError: for codes of another shape, fewer than 2 M, or such as are not finite.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        codes = check_codes(codes, self.latent_dim, at_least=2 * self.num_components)
        if len(codes) > self.MOST_CODES:
            codes = codes[np.random.default_rng(seed).choice(len(codes), self.MOST_CODES, replace=False)]
        fitted = GaussianMixture(
            self.num_components,
            covariance_type="diag",
            n_init=self.STARTS,
            max_iter=500,
            reg_covar=1e-6 * float(codes.var()),
            random_state=seed,
        )
        with warnings.catch_warnings():
            # What EM has come to after 500 steps will do for a start.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted.fit(codes)
        self.logits.assign(np.log(np.maximum(fitted.weights_, LEAST_WEIGHT)))
        self.loc.assign(fitted.means_)
        self.raw_scale.assign(raw_of(np.sqrt(fitted.covariances_)))

    def responsibilities(self, z: Any) -> tf.Tensor:
        """p(m|z) = w_m N(z; mu_m, diag(s_m^2)) / p(z), [..., M], of z [..., L]: its argmax is the cluster of z."""
        z = tf.convert_to_tensor(z, tf.float32)
        probabilities: tf.Tensor = self.distribution().posterior_marginal(z).probs_parameter()
        return probabilities


@register
class VampPrior(Prior):
    """p(z) = 1/M sum_m q(z | u_m): a mixture of the posteriors of M learned pseudo-inputs u_m.

    After Tomczak and Welling 2018, "VAE with a VampPrior". `adapt` makes examples drawn from all of the data the first
    pseudo-inputs; from then on the optimizer's steps are projected back to the range of the data. (The paper clips in
    the forward pass; a pixel that starts at 0 and is pushed below would then never get a gradient again.) Any posterior
    with a density will do; with an "iaf" flow each evaluation takes L - 1 passes through the flow. The KL to it is
    sampled.

    Args:
        latent_dim: L.
        num_pseudo_inputs: M.
    """

    support, tails = REAL, None  # those of the posterior, whatever they are
    uses_encoder = True
    coded_as = "mixture"
    NOISE = 0.01  # of pseudo-inputs that repeat an example, in units of the range of each value

    def __init__(self, latent_dim: int, num_pseudo_inputs: int, **kwargs: Any) -> None:
        super().__init__(latent_dim, **kwargs)
        self.num_pseudo_inputs = check_count("num_pseudo_inputs", num_pseudo_inputs)
        self.num_examples = self.num_pseudo_inputs

    @property
    def draw_size(self) -> int:
        """TFP draws of all components, and takes one."""
        return self.num_pseudo_inputs * self.latent_dim

    def build(self, input_shape: tuple) -> None:
        """Make pseudo-inputs of the shape of the data, [M, *event_shape], uniform on [0, 1] until `adapt` sees data."""
        if self.built:
            return
        unbounded = keras.initializers.Constant(np.array([-np.inf, np.inf], "float32"))
        self.range = self.add_weight(name="range", shape=(2,), initializer=unbounded, trainable=False)
        self.pseudo_inputs = self.add_weight(
            name="pseudo_inputs",
            shape=(self.num_pseudo_inputs, *input_shape[1:]),
            initializer=keras.initializers.RandomUniform(0.0, 1.0),
            constraint=self._into_range,
        )

    def _into_range(self, values: tf.Tensor) -> tf.Tensor:
        low, high = tf.unstack(tf.convert_to_tensor(self.range))
        return tf.clip_by_value(values, low, high)

    def adapt(self, data: Summary) -> None:
        """Start from M examples, repeated with a little noise if there are fewer."""
        values = np.resize(data.examples, self.pseudo_inputs.shape)
        noise = tf.random.stateless_normal(values.shape, seed=[0, 0]) * self.NOISE * (data.high - data.low)
        repeats = np.arange(len(values)) >= len(data.examples)
        values[repeats] += noise.numpy()[repeats]
        self.range.assign([data.low.min(), data.high.max()])
        self.pseudo_inputs.assign(np.clip(values, data.low.min(), data.high.max()))

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """The mixture of `encoder`'s posteriors, batch [], event [L].

        Raises:
            ValueError: without an encoder, or with a posterior that has no density.
        """
        if encoder is None:
            raise ValueError("VampPrior is made of posteriors: call distribution(encoder=vae.encoder).")
        components = encoder(tf.convert_to_tensor(self.pseudo_inputs))
        if not encoder.posterior.has_density:
            name = type(encoder.posterior).__name__
            raise ValueError(
                f"VampPrior is a mixture of the densities q(z|u), and {name} has none: use a posterior that has "
                f"one, or priors.StandardNormal({self.latent_dim}), which an autoencoder ignores."
            )
        return mixture(tf.zeros([self.num_pseudo_inputs]), components)
