"""A trained encoder at work in other tasks: features, augmentation, a density of codes.

model = keras.Sequential([vae.encoder.features_model(), keras.layers.Dense(10)])
augmented = train.map(evaluation.augment(vae, seed=0))
density = evaluation.CodeDensity(autoencoder, train)   # makes a plain autoencoder generate
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae import seeds
from keras_vae.arguments import check_count, check_number
from keras_vae.evaluation.statistics import points, refuse_conditional, refuse_deterministic
from keras_vae.models.vae import VAE


def augment(vae: VAE, seed: int = 0, temperature: float = 1.0, sample_pixels: bool = False) -> Callable[..., Any]:
    """A function for `tf.data.Dataset.map` that turns images into variations of themselves.

    Draws z ~ q(z|x) and gives the mean of p(x|z); labels and weights pass through. A conditional model takes y as the
    condition. The draw follows from the seed and
    the images, so that the same batch gives the same variations; for others in each epoch, repeat the data before the
    map and shuffle them.

        train = train.repeat(epochs).map(evaluation.augment(vae, seed=0))

    Args:
        vae: the model.
        seed: of the draws.
        temperature: factor on the distance of z from the point of q(z|x); 0 gives reconstructions. 1 for a hierarchy,
            all levels of which are drawn.
        sample_pixels: whether to draw from p(x|z) instead of taking its mean.

    Returns:
        A function of a batch x, or of (x, y) and (x, y, sample_weight).

    Raises:
        ValueError: for a posterior without a density, whose variations would all be one image, a negative temperature,
            and another than 1 for a hierarchy.
    """
    refuse_deterministic(vae, "Augmentation")
    check_number("temperature", temperature, at_least=0)
    if vae.num_levels > 1 and temperature != 1:
        raise ValueError(f"A temperature is of one level of latents, and this model has {vae.num_levels}: 1.")

    def vary(x: tf.Tensor, *rest: tf.Tensor) -> Any:
        x = tf.cast(x, tf.float32)
        # The content decides the noise: a counter would give other images whenever the pipeline is restarted.
        content = tf.strings.to_hash_bucket_fast(tf.strings.reduce_join(tf.io.serialize_tensor(x)), 2**31 - 1)
        key = seeds.fold_in(seed, content)
        condition = rest[0] if rest and vae.condition is not None else None
        if vae.num_levels > 1:
            likelihood = vae.infer(x, 1, key, condition).likelihood
            varied = likelihood.sample(seed=seeds.fold_in(key, 1)) if sample_pixels else likelihood.mean()
            return (varied[0], *rest) if rest else varied[0]
        q = vae.encode(x, condition)
        point = vae.encoder.posterior.point(q)
        z = point + temperature * (q.sample(seed=key) - point)
        likelihood = vae.decode(z, condition)
        varied = likelihood.sample(seed=seeds.fold_in(key, 1)) if sample_pixels else likelihood.mean()
        return (varied, *rest) if rest else varied

    return vary


class CodeDensity:
    """A density of the codes of a model, which makes a plain autoencoder generate: a mixture of Gaussians.

    An autoencoder is trained to reconstruct; nothing makes its codes follow its prior, and draws from that prior decode
    to no data. A mixture fitted to the codes afterwards is the simplest remedy (Ghosh et al. 2020, "From variational to
    deterministic autoencoders"). By scikit-learn, with full covariances.

    Args:
        vae: the model; also of use for a VAE whose aggregate posterior is far from its prior.
        data: a finite data set, the training data as a rule.
        num_components: of the mixture.
        seed: of the fit.

    Raises:
        ValueError: for fewer examples than components, and a conditional model.
    """

    def __init__(self, vae: VAE, data: Any, num_components: int = 10, seed: int = 0) -> None:
        refuse_conditional(vae, "A density of codes")
        check_count("num_components", num_components)
        from sklearn.mixture import GaussianMixture

        z, _ = points(vae, data)
        if len(z) < 2 * num_components:
            raise ValueError(
                f"A mixture of {num_components} components cannot be fitted to {len(z)} codes: give more data or fewer "
                "components."
            )
        self.mixture = GaussianMixture(num_components, random_state=seed, reg_covar=1e-5).fit(z.astype("float64"))
        self._bounds = vae.prior.bounds

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Draws of codes, [n, L]."""
        random = np.random.default_rng(seed)
        members = random.choice(len(self.mixture.weights_), n, p=self.mixture.weights_)
        noise = random.standard_normal((n, self.mixture.means_.shape[1]))
        factors = np.linalg.cholesky(self.mixture.covariances_)
        z = self.mixture.means_[members] + np.einsum("nij,nj->ni", factors[members], noise)
        return np.clip(z, *self._bounds).astype("float32")
