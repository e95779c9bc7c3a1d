"""Normalizing flows as posteriors: draws of a simple posterior, bent by layers that depend on the data."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_choice, check_count, check_kernel_size, check_sizes, require_kind
from keras_vae.distributions import bijectors
from keras_vae.distributions.head import Head
from keras_vae.distributions.support import REAL
from keras_vae.posteriors.posterior import Posterior
from keras_vae.serialization import register


@register
class Flow(Posterior):
    """z = f(u; h), u ~ base(x): log q(z|x) = log base(u|x) - log |det df/du|.

    f is a chain of layers u_i exp(s_i(u, h)) + t_i(u, h), h a projection of the features if there is one; it starts as
    the identity, so that training starts from the base. Draws come with their log-density in one pass; the log-density
    of any other z takes L - 1 passes for each "iaf" layer, one for each "coupling" layer. `point` is f of the base's
    point: the mean of a flow has no closed form. The KL to any prior is sampled.

    Args:
        base_posterior: a posterior on the whole real line, diagonal or with full covariance; only its distribution is
            used, from the projection of this layer.
        kind: "iaf" (Kingma et al. 2016, "Improving variational inference with inverse autoregressive flow") or
            "coupling" (Dinh et al. 2017, "Density estimation using Real NVP").
        num_layers: number of layers.
        units: widths of the hidden layers of each layer's network.
        context_size: size of h, a projection of the features that f then depends on too. 0, the default, leaves it out:
            the same f for all x, which learns faster; see `benchmarks/posteriors.py`.
        kernel_size: of the masked convolutions of a flow of kind "iaf" on a map of latents, a level of
            `LadderDecoder(..., posterior=...)`, an odd number: 3 in the paper. A number then depends on those of
            earlier places too, and the log-density of any other z takes height x width x L - 1 passes for each layer.
            1, the default, is a flow of vectors; on a map, of each place by itself.

    Raises:
        TypeError: if the base is not a posterior.
        ValueError: for a base that is bounded, certain or without a density, an unknown kind, or sizes that are not
            positive ints, or kernels of a flow that has none.

    Example:

        posterior = flows.Flow(posteriors.MultivariateNormalDiag(16), kind="iaf", num_layers=4)
    """

    has_marginals = False
    START = 0.1

    def __init__(
        self,
        base_posterior: Posterior,
        kind: str = "iaf",
        num_layers: int = 2,
        units: Sequence[int] = (128, 128),
        context_size: int = 0,
        kernel_size: int = 1,
        **kwargs: Any,
    ) -> None:
        described = "a posterior such as posteriors.MultivariateNormalDiag(16)"
        require_kind("base_posterior", base_posterior, Posterior, described)
        base = base_posterior
        super().__init__(base.latent_dim, **kwargs)
        is_vector = base.blocks == (("continuous", base.latent_dim),)
        if not base.has_density or base.is_certain or base.support != REAL or not is_vector:
            raise ValueError(
                f"A flow needs a base with a density on the whole real line, which {type(base).__name__} is not: "
                f"use posteriors.MultivariateNormalDiag({base.latent_dim})."
            )
        check_choice("kind", kind, bijectors.KINDS)
        check_count("num_layers", num_layers)
        check_count("context_size", context_size, at_least=0)
        self.base, self.context_size = base, context_size
        # Each layer grows no faster than linearly.
        self.support, self.tails = base.support, base.tails
        # What the head converts to is not used, and must not use the weights: a Keras 2 layer complains of those.
        self.head = Head(self.distribution, convert_to_tensor_fn=self._base_point)
        self.adds_precisions = base.adds_precisions
        units = check_sizes("units", units)
        check_kernel_size(kernel_size, kind)
        self.is_of_maps = kernel_size > 1
        self.layers: list[bijectors.Conditioner]
        if self.is_of_maps:
            self.layers = [*bijectors.map_conditioners(kernel_size, base.latent_dim, num_layers, units, context_size)]
        else:
            self.layers = bijectors.conditioners(kind, base.latent_dim, num_layers, units, context_size)

    @property
    def params_size(self) -> int:
        """Parameters of the base and the context h."""
        return self.base.params_size + self.context_size

    @property
    def initial_factors(self) -> np.ndarray:
        """Those of the base, then small ones for the context, of which the flow knows nothing yet."""
        return np.concatenate([self.base.initial_factors, np.full(self.context_size, self.START, "float32")])

    def of_size(self, latent_dim: int) -> Self:
        """A new one of the same kind, with as many dimensions, as has its base."""
        return self._like(base_posterior=self.base.of_size(latent_dim))

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """f(u; h), u ~ base, from [B, params_size]; of maps, of events [H, W, L] from [B, H, W, params_size]."""
        size = self.base.params_size
        context = params[..., size:] if self.context_size else None
        chain = bijectors.chain(self.layers, context)
        base = self.base.distribution(params[..., :size])
        if self.is_of_maps and not self.base.is_of_maps:
            base = tfd.Independent(base, 2)
        return tfd.TransformedDistribution(base, chain)

    def point(self, q: tfd.Distribution) -> tf.Tensor:
        """f of the point of the base, [B, L]."""
        return q.bijector.forward(self._base_point(q))

    def _base_point(self, q: tfd.Distribution) -> tf.Tensor:
        base = q.distribution
        return self.base.point(base.distribution if self.is_of_maps and not self.base.is_of_maps else base)
