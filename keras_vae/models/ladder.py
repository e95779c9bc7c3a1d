"""Hierarchies: several levels of latents, of which each decides what the one above has left open.

    vae = kv.VAE(
        kv.LadderEncoder(networks.residual([32, 64]), posteriors.MultivariateNormalDiag(32)),
        kv.LadderDecoder(networks.residual([64, 32]), likelihoods.DiscretizedLogistic((32, 32, 3)), latents=8),
        priors.StandardNormal(32),
    )

p(x, z) = p(z_1) p(z_2|z_1) ... p(z_N|z_<N) p(x|z), and q(z|x) = q(z_1|x) q(z_2|z_1, x) ... from the top down: prior
and posterior of a level share the way down to it, as in the ladder VAE (Sonderby et al. 2016) and in "Very deep VAEs"
(Child 2021). The top level is that of every VAE, with any posterior and any prior; the others stand between the stages
of the decoder's network, and have Gaussian priors and any posterior on the real line. A stage is a dense layer, a
convolution or a residual block.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_flag, check_latents, require_kind
from keras_vae.conditions.condition import Condition
from keras_vae.conditions.handed import require
from keras_vae.distributions import joint
from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.models.decoder import Decoded, Decoder
from keras_vae.models.encoder import Encoder
from keras_vae.models.level import Level
from keras_vae.models.matching import check_level_posterior
from keras_vae.networks.network import Network
from keras_vae.networks.stages import run_stage, shape_after, stages_of
from keras_vae.posteriors.posterior import Posterior
from keras_vae.seeds import Seed, fold_in
from keras_vae.serialization import register
from keras_vae.terms import LatentGroup, latent_group

RECIPE = "a recipe of keras_vae.networks, such as mlp([300, 300])"


@register
class LadderEncoder(Encoder):
    """The way up: q(z_1|x) of the top level, and the features of every stage for the levels below.

    Args:
        network: a recipe of `keras_vae.networks`; its stages are those between which it can be cut.
        posterior: of the top level.
        condition: as in `Encoder`.

    Raises:
        TypeError: for a network that is no recipe.
    """

    gives_features = True

    def __init__(
        self, network: Network, posterior: Posterior, condition: Condition | None = None, **kwargs: Any
    ) -> None:
        super().__init__(network, posterior, condition, **kwargs)
        require_kind("network", network, Network, RECIPE)

    @property
    def feature_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the features of the stages for one example, the topmost first; of a built encoder."""
        given = None if self.condition is None else self.body.given_shapes
        shape: Any = (None, *self.seen_shape(self.get_build_config()["input_shape"][1:]))
        shapes: list[tuple[int, ...]] = []
        for stage in stages_of(self.body):
            shape = shape_after(stage, shape, given)
            shapes.insert(0, tuple(shape[1:]))
        return shapes

    def ascend(
        self, x: tf.Tensor, condition: tf.Tensor | None = None, training: bool | None = None
    ) -> tuple[tfd.Distribution, list[tf.Tensor]]:
        """q(z_1|x) and the features of the stages, the topmost first."""
        require(self, condition)
        x = self.seen(x)
        features: list[tf.Tensor] = []
        given = None if self.condition is None else self.body.see(self.condition.features(condition))
        for stage in stages_of(self.body):
            x = run_stage(stage, x, given, training)
            features.insert(0, x)
        # Called from outside Keras's __call__, a layer is told by nobody else whether this is training.
        return self.posterior(tf.reshape(x, [-1, self.num_features]), training=training), features


@register
class LadderDecoder(Decoder):
    """The way down: levels of latents after the stages of the network, but not after the last, then the likelihood.

    At each level, with h the state of the way down and e the encoder's features of the nearest size,

        p(z|h) = N(mu, sigma^2),   q(z|h, e) = N(mu', sigma'^2),   h <- h + W z,

    each of both by one hidden layer of the width of h and of the network's kind (its activation, or gated). In a
    convolutional network a level is a map of the size of h, of images or of series, and so are the hidden layers (3x3).

    -5 < log sigma < 1/2: the scale of z is free, as W follows it, but not that of one draw beside another. An h a
    little larger than any in training would else make a sigma that is much larger, which makes h larger: from level to
    level such draws grew until their images were white and black.

    `posterior` puts another q(z|h, e) there, made of the same hidden layer: full covariances, or a flow whose context
    has the way up, as in Kingma et al. 2016, "Improving variational inference with inverse autoregressive flow". On a
    map it is that of each place by itself, unless it is a flow with a `kernel_size`, which runs through the whole map.
    It sees that layer between -10 and 10, 10 tanh(x / 10), for the reason above.

    `bidirectional` is the posterior of Sonderby et al. 2016: q_e, made of e alone, and the prior are multiplied,

        1 / sigma'^2 = 1 / sigma_e^2 + 1 / sigma^2,   mu' = sigma'^2 (mu_e / sigma_e^2 + mu / sigma^2);

    of a flow that is its base.

    Args:
        network: a recipe of `keras_vae.networks`.
        likelihood: a part of `keras_vae.likelihoods`.
        latents: after each stage, from the top down: the number of dimensions, or of channels of a map; 0 for a stage
            without a level. A single number puts a level of that size after every stage.
        condition, guide: as in `Decoder`.
        posterior: a part of `keras_vae.posteriors` or `keras_vae.flows`, of which every level gets a new one of its own
            size, whatever the size of this one. None for a diagonal Gaussian with -5 < log sigma' < 1/2 too.
        bidirectional: whether the precisions of the two ways are added.

    Raises:
        TypeError: for a network that is no recipe, or a posterior that is none.
        ValueError: for a posterior that does not go with a Gaussian prior, or is not Gaussian where precisions are to
            be added; when built: for another number of levels than the network has room for, and for a flow of maps
            where levels are vectors.
    """

    needs_features = True
    # Upper bound of log sigma. It was 5, as models that were saved then remember.
    max_log_scale: float = 0.5
    before: ClassVar[Mapping[str, Any]] = {"max_log_scale": 5.0}
    # Whether a level sees the features of its own height and width. It was once those of as many stages from the top,
    # as models that were saved then remember: of a convolutional network, half of the levels saw smaller ones.
    by_size: bool = True

    def __init__(
        self,
        network: Network,
        likelihood: Likelihood,
        latents: int | Sequence[int],
        condition: Condition | None = None,
        guide: Network | None = None,
        posterior: Posterior | None = None,
        bidirectional: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(network, likelihood, condition, guide, **kwargs)
        require_kind("network", network, Network, RECIPE)
        self.bidirectional = check_flag("bidirectional", bidirectional)
        check_level_posterior(posterior, self.bidirectional)
        # Every level has its own: this one has no weights, and is no layer of the decoder.
        self.levels_coded_as = "normal" if posterior is None else posterior.coded_as
        self.posterior_of_size = None if posterior is None else posterior.of_size
        self.has_flow_of_maps = posterior is not None and posterior.is_of_maps
        self.latents = check_latents(latents)
        self.same_for_all = not isinstance(latents, (list, tuple))

    def build(self, input_shape: tuple) -> None:
        """Make the layers for z_1 of shape [..., L]; the encoder's features are joined when its shapes are known."""
        if self.built:
            return
        super().build(input_shape)
        shape: Any = (None, input_shape[-1])
        given = None if self.condition is None else self.body.given_shapes
        shapes = []
        for stage in stages_of(self.body):
            shape = shape_after(stage, shape, given)
            shapes.append(shape)
        room = shapes[:-1]
        sizes = self.latents * len(room) if self.same_for_all else self.latents
        if not room or len(sizes) != len(room):
            named = ", ".join("x".join(str(n) for n in place[1:]) for place in room) or "none"
            raise ValueError(
                f"A level can stand after every stage of the decoder's network but the last: here {named}. latents has "
                f"{len(sizes)} numbers: give {len(room)}, 0 where there is to be none, or a single one for all."
            )
        activation = self.network.activation
        is_gated = self.network.is_gated
        self.stages_of_levels = [stage for stage, size in enumerate(sizes) if size]
        others = [stage for stage in self.stages_of_levels if len(room[stage]) != 4]
        if self.has_flow_of_maps and others:
            what = "a vector" if len(room[others[0]]) == 2 else "a series"
            raise ValueError(
                f"A flow with a kernel_size is of maps, and the level after stage {others[0] + 1} is {what}: leave "
                "kernel_size at 1, or take a convolutional network of images."
            )
        self.levels = [
            Level(
                sizes[stage],
                activation,
                is_gated,
                self.max_log_scale,
                None if self.posterior_of_size is None else self.posterior_of_size(sizes[stage]),
                self.bidirectional,
                dtype=self.dtype_policy,
                name=f"level_{index + 2}",
            )
            for index, stage in enumerate(self.stages_of_levels)
        ]
        self.level_shapes = [tuple(room[stage][1:]) for stage in self.stages_of_levels]
        for level, shape in zip(self.levels, self.level_shapes, strict=True):
            level.build((None, *shape))

    def get_config(self) -> dict[str, Any]:
        """The parts, the bound of the scales, and which features a level sees."""
        return {**super().get_config(), "max_log_scale": self.max_log_scale, "by_size": self.by_size}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A decoder with the parts of `config`."""
        arguments = dict(config)
        max_log_scale, by_size = arguments.pop("max_log_scale", 5.0), arguments.pop("by_size", False)
        decoder = super().from_config(arguments)
        decoder.max_log_scale, decoder.by_size = float(max_log_scale), bool(by_size)
        return decoder

    def connect(self, feature_shapes: Sequence[Sequence[int]]) -> None:
        """Make the weights of the layers that see the encoder's features, of these shapes from the top down."""
        self.seen = [
            self._seen(stage, shape, feature_shapes)
            for stage, shape in zip(self.stages_of_levels, self.level_shapes, strict=True)
        ]
        for level, shape, seen in zip(self.levels, self.level_shapes, self.seen, strict=True):
            level.build_posterior(shape, feature_shapes[seen])

    def _seen(self, stage: int, shape: Sequence[int], feature_shapes: Sequence[Sequence[int]]) -> int:
        """The number, from the top, of the encoder's stage whose features are for a level of this shape."""
        alike = [number for number, features in enumerate(feature_shapes) if features[:-1] == shape[:-1]]
        is_map = len(shape) > 1
        return alike[0] if self.by_size and is_map and alike else min(stage, len(feature_shapes) - 1)

    @property
    def noise_sizes(self) -> list[int]:
        """Number of dimensions of each level below the top, from the top down."""
        return [
            level.latents * math.prod(shape[:-1]) for level, shape in zip(self.levels, self.level_shapes, strict=True)
        ]

    def call(self, z: tf.Tensor, condition: tf.Tensor | None = None, training: bool | None = None) -> tfd.Distribution:
        """p(x|z_1, z_2, ...), z_1 as given [..., L] and each level below at the mean of its prior."""
        return self.draw(z, None, condition)

    def draw(
        self, z: tf.Tensor, noise: Sequence[tf.Tensor | None] | None, condition: tf.Tensor | None = None
    ) -> tfd.Distribution:
        """p(x|z), z_1 as given [..., L], the levels below at mu + sigma * noise.

        Args:
            z: of the top level, [..., L].
            noise: of the levels from the top down, [N, size] each with N the number of rows of z; None for none, of all
                or of a level.
            condition: [B, ...], for z [..., B, L].
        """
        eps = noise or [None] * len(self.levels)

        def at_level(index: int, h: tf.Tensor) -> tf.Tensor:
            p = self.levels[index].prior(h)
            # mean() and stddev() would broadcast to a shape that is computed in the graph.
            return p.loc if eps[index] is None else p.loc + p.scale.diag_part() * eps[index]

        return self._down(z, at_level, condition, training=False)

    def descend(
        self,
        z: tf.Tensor,
        features: Any,
        seed: Seed | None = None,
        condition: tf.Tensor | None = None,
        training: bool | None = None,
        given: Sequence[tf.Tensor] | None = None,
    ) -> Decoded:
        """p(x|z) and the groups of the levels below the top, drawn from their posteriors.

        Args:
            z: of the top level, [K, B, L] or [B, L].
            features: of the encoder's stages, from the top down, [B, ...] each.
            seed: of the draws; None takes the means.
            condition: [B, ...].
            training: passed on to the networks.
            given: the z of the levels from the top down, [K, B, size] each, in place of draws.
        """
        groups: list[LatentGroup] = []
        batch = tf.shape(z)[:-1]

        def at_level(index: int, h: tf.Tensor) -> tf.Tensor:
            level, log_q = self.levels[index], None
            p = level.prior(h)
            q = level.posterior(h, _repeated(features[self.seen[index]], tf.shape(h)[0]), p, training)
            if given is not None:
                z_l = tf.reshape(given[index], [-1, given[index].shape[-1]])
            else:
                z_l, log_q = joint.drawn(q, None if seed is None else fold_in(seed, index + 1))
            q, p = (joint.in_batch(distribution, batch) for distribution in (q, p))
            in_batch = tf.reshape(z_l, tf.concat([batch, [z_l.shape[-1]]], axis=0))
            groups.append(latent_group(q, p, in_batch, None if log_q is None else tf.reshape(log_q, batch)))
            return z_l

        return Decoded(self._down(z, at_level, condition, training), groups)

    def _down(
        self, z: tf.Tensor, at_level: Any, condition: tf.Tensor | None, training: bool | None
    ) -> tfd.Distribution:
        require(self, condition)
        is_flat = z.shape.rank == 2
        h = z if is_flat else tf.reshape(z, [-1, z.shape[-1]])
        given = None
        if self.condition is not None:
            given = self.condition.features(condition)
            if not is_flat:
                given = _repeated(given, tf.shape(h)[0])
            given = self.body.see(given)
        index_of = {stage: index for index, stage in enumerate(self.stages_of_levels)}
        for number, stage in enumerate(stages_of(self.body)):
            h = run_stage(stage, h, given, training)
            if number in index_of:
                index = index_of[number]
                h = self.levels[index].merge(h, at_level(index, h))
        params = self.projection(h if given is None else self.body.end(h, given))
        return self._distribution(params, z, condition)


def _repeated(values: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Values [B, ...] for rows in the order of a flattened [K, B]."""
    times = tf.math.floordiv(rows, tf.maximum(tf.shape(values)[0], 1))
    return tf.tile(values, [times, *[1] * (values.shape.rank - 1)])
