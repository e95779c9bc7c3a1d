"""What users ask of a model, for any number of examples: in blocks, so that memory does not grow with their number.

One block or less is done at once and as it is, without compiling: sixteen images need not wait for that. Who asks for
the same again and again, as a loop over single images does, gets it compiled.
"""

import math
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae import seeds
from keras_vae.arguments import check_count, check_flag, check_memory, check_number
from keras_vae.conditions import handed
from keras_vae.conditions.handed import condition_for
from keras_vae.data import batches
from keras_vae.distributions.distribution import Distribution
from keras_vae.distributions.gaussian import cooled
from keras_vae.models import inputs
from keras_vae.models.encoder import Encoder
from keras_vae.seeds import Seed
from keras_vae.training.steps_per_call import with_progress

# A block of examples has about this many values of x, within limits of its rows.
BLOCK_VALUES, FEWEST_ROWS, MOST_ROWS = 2**20, 16, 4096
# Draws of one chunk of `log_prob` have about this many values of x.
CHUNK_VALUES = 2**24
# A block of draws from a prior has about this many numbers in memory; of a prior with a condition, so many rows.
DRAW_VALUES, DRAW_ROWS = 2**26, 4096
# So many numbers there is always room for.
SURELY_FREE = 2**26
# What has been asked for so often is compiled, and so many of such functions are kept.
OFTEN, MOST_KEPT = 3, 64
# Folded into a seed, these give streams that no level of a hierarchy has: those count from 1.
PIXELS, DRAWS, ROWS = -1, -2, -3


class Compiled:
    """The compiled functions of a model: each is made once, by whichever thread comes first.

    All are forgotten where the model has got other variables, as by `quantize`: they would go on with the old ones.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[Hashable, Callable[..., Any]] = {}
        self._asked: Counter[Hashable] = Counter()
        self._variables: list[keras.Variable] = []

    def __len__(self) -> int:
        """How many there are."""
        return len(self._made)

    def get(self, vae: Any, name: Hashable, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` of tensors, compiled under this name."""
        with self._lock:
            return self._get(vae, name, function)

    def when_repeated(self, vae: Any, name: Hashable, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` as it is, and compiled from the third time on that this name is asked for."""
        with self._lock:
            if len(self._asked) >= MOST_KEPT**2:  # of ever other temperatures, say
                self._asked.clear()
            self._asked[name] += 1
            if self._asked[name] < OFTEN and name not in self._made:
                return function
            if len(self._made) >= MOST_KEPT and name not in self._made:
                del self._made[next(iter(self._made))]
            return self._get(vae, name, function)

    def _get(self, vae: Any, name: Hashable, function: Callable[..., Any]) -> Callable[..., Any]:
        variables = vae.variables
        known = len(variables) == len(self._variables)
        if not known or any(a is not b for a, b in zip(variables, self._variables, strict=True)):
            self._made, self._variables = {}, variables
        if name not in self._made:
            self._made[name] = tf.function(function, reduce_retracing=True, autograph=False)
        return self._made[name]


class Inference(keras.Model):
    """What users ask of a model: the methods of `VAE` that leave it as it is. All look at what they are given."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """See `call`. The weights are made first: of several threads, by one."""
        self._ensure_built()
        return super().__call__(*args, **kwargs)

    def call(self, x: Any, condition: Any = None, training: bool | None = None) -> tf.Tensor:
        """Reconstructions: means of p(x|z) at the point of q(z|x), shaped like `x`.

        Args:
            x: data [B, *event_shape], or {"image": data, "condition": conditions}.
            condition: in the first case, of a conditional model.
            training: passed on to the networks.
        """
        if isinstance(x, Mapping):
            x, condition, _ = batches.unpack(x, conditional=True)
        x = inputs.examples(self, x)
        return self.infer(x, condition=condition, training=bool(training)).likelihood.mean()[0]

    @inputs.like(keras.Model.predict)
    def predict(self, x: Any, *args: Any, **kwargs: Any) -> np.ndarray:
        """`keras.Model.predict`, after a look at the data: reconstructions, an array shaped like them.

        Raises:
            ValueError: as `fit`.
        """
        self._ensure_built()
        options = with_progress(inputs.named(keras.Model.predict, self, (x, *args), kwargs))
        return inputs.predict(self, super().predict, **options)

    def predict_step(self, data: Any) -> tf.Tensor:
        """Reconstructions of a batch."""
        x, condition, _ = batches.unpack(data, self.condition is not None)
        return self(x, condition=condition, training=False)

    def encode(self, x: Any, condition: Any = None) -> Distribution:
        """q(z|x), batch [B], event [L].

        Args:
            x: data [B, *event_shape]; or a dataset, or another iterable of batches, of which all examples are encoded.
            condition: one for each example, or one for all; a dataset brings its own.

        Raises:
            ValueError: for data of another shape or outside the likelihood's support, and for wrong conditions.
        """
        self._ensure_built()
        return encode_examples(self, x, condition)

    def decode(self, z: Any, condition: Any = None) -> Distribution:
        """p(x|z), batch z.shape[:-1], event `event_shape`; the condition is one for each z [..., B, L], or for all.

        Raises:
            ValueError: for z that are no finite numbers [..., L].
        """
        self._ensure_built()
        z = inputs.latents(self, z)
        condition = handed.given(self.condition, condition, z.shape[-2] if z.shape.rank > 1 else 1)
        return self.decoder(z, condition=condition_for(self.decoder, condition))

    def reconstruct(self, x: Any, condition: Any = None) -> np.ndarray:
        """Means of p(x|z) at the point (the mean) of q(z|x), an array shaped like the data.

        Args:
            x: data [B, *event_shape]; or a dataset, or another iterable of batches, for the reconstructions of all.
            condition: one for each example, or one for all; a dataset brings its own.

        Raises:
            ValueError: as `encode`.
        """
        self._ensure_built()
        return _array(
            over_examples(
                self, "reconstruct", lambda x, c: self.infer(x, condition=c).likelihood.mean()[0], x, condition
            )
        )

    def sample(
        self,
        n: int,
        seed: Seed | None = None,
        condition: Any = None,
        temperature: float = 1.0,
        noise: bool = False,
    ) -> np.ndarray:
        """Means of p(x|z) for n draws z ~ p(z), [n, *event_shape]; the same n and seed give the same images.

        They are those of `generate`, decoded in blocks, so that n is bounded by the size of the result alone.

        Args:
            n: number of draws.
            seed: as in `generate`.
            condition: as in `generate`.
            temperature: below 1, draws are nearer to the means of Gaussian priors: less varied, more typical images.
            noise: whether to draw from p(x|z) instead of taking its mean: samples with the decoder's own noise.

        Raises:
            ValueError: as `generate`.
        """
        self._ensure_built()
        n, seed, condition, temperature = check_sampling(self, n, seed, condition, temperature)
        return _array(draw_examples(self, n, seed, condition, temperature, check_flag("noise", noise)))

    def log_prob(self, x: Any, num_samples: int = 100, seed: Seed | None = 0, condition: Any = None) -> np.ndarray:
        """Importance-weighted estimate of log p(x), [B], in nats.

        log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x): a lower bound in expectation, which rises to log p(x)
        with K = `num_samples` (Burda et al. 2016, "Importance weighted autoencoders"). Where q(z|x) is certain, as that
        of a codebook, all weights are equal: it is the ELBO whatever K, and taken once.

        Args:
            x: data [B, *event_shape], or a dataset, as in `encode`.
            num_samples: K.
            seed: of the draws.
            condition: what the model is conditioned on.

        Raises:
            ValueError: for data outside the support of the likelihood, and for a posterior without a density.
        """
        if not self.encoder.posterior.has_density:
            raise ValueError(
                f"{type(self.encoder.posterior).__name__} has no density, so that log p(x) cannot be estimated "
                "from it: a plain autoencoder is judged by its reconstructions (evaluate)."
            )
        num_samples = check_count("num_samples", num_samples)
        inputs.refuse_targets(self)
        self._ensure_built()
        num_samples = 1 if all(self.certainties) else num_samples
        return _array(estimate(self, x, num_samples, seeds.as_pair(seed), condition))

    def impute(
        self, x: Any, num_samples: int = 10, seed: Seed | None = 0, condition: Any = None, num_particles: int = 500
    ) -> np.ndarray:
        """Draws of what is missing, given what is there: x ~ p(x_missing | x_observed), [num_samples, *x.shape].

        By importance resampling, Mattei and Frellsen 2019, "MIWAE", section 3.3: of K draws z_k ~ q(z|x_observed) each
        result takes one, with a probability in proportion to p(x_observed|z_k) p(z_k) / q(z_k|x_observed), and what is
        missing from p(x|z_k). Their mean is an estimate of E[x_missing | x_observed], their quantiles say how sure it
        is. Exact as K grows. What is there comes back unchanged.

        Args:
            x: data [B, *event_shape] with NaN where values are missing; {"image": x, "mask": m}; or a dataset.
            num_samples: number of draws for each example.
            seed: of the draws; the same ones for the same data in the same batches.
            condition: of an array, as in `encode`.
            num_particles: K.

        Raises:
            ValueError: for a model without `missing=True`, and as `encode`.
        """
        if not self.missing:
            raise ValueError(
                "This model knows of no missing values: VAE(..., missing=True), trained on data with NaN in their "
                "place, does."
            )
        if not self.encoder.posterior.has_density:
            raise ValueError(
                f"{type(self.encoder.posterior).__name__} has no density, by which draws could be weighed: imputations "
                "need one, such as that of MultivariateNormalDiag."
            )
        num_samples = check_count("num_samples", num_samples)
        num_particles = check_count("num_particles", num_particles)
        self._ensure_built()
        return imputations(self, x, num_samples, num_particles, seeds.as_pair(seed), condition)


def rows_at_once(vae: Any) -> int:
    """The number of examples in a block."""
    return int(np.clip(BLOCK_VALUES // math.prod(vae.decoder.event_shape), FEWEST_ROWS, MOST_ROWS))


def blocks(n: int, rows: int) -> Iterator[slice]:
    """The rows of n examples, block by block; one block of none if there are none."""
    for start in range(0, max(n, 1), rows):
        yield slice(start, min(start + rows, n))


def over_examples(
    vae: Any, name: str, function: Callable[..., tf.Tensor], data: Any, condition: Any
) -> tf.Tensor | np.ndarray:
    """`function` of x [b, *event_shape] and conditions for all examples of the data, [N, ...] in their order.

    Args:
        vae: the model.
        name: under which it is compiled.
        function: example by example the same, however many there are.
        data: an array, or what comes in batches (see `inputs.is_bulk`).
        condition: of an array.
    """
    rows = rows_at_once(vae)
    if not inputs.is_bulk(data):
        x = inputs.examples(vae, data)
        given = handed.given(vae.condition, condition, len(x))
        if len(x) <= rows:
            if tf.executing_eagerly():
                function = vae.compiled_methods.when_repeated(vae, (name, len(x)), function)
            return function(tf.convert_to_tensor(x), given)
        data, condition = x, given
    run = vae.compiled_methods.get(vae, name, function)
    parts = [run(tf.convert_to_tensor(x), c) for x, c in inputs.example_batches(vae, data, condition, rows)]
    if not parts:
        none = None if vae.condition is None else tf.constant(vae.condition.zeros(0))
        return function(tf.zeros([0, *vae.decoder.event_shape]), none)
    return tf.concat(parts, axis=0)


def encode_examples(vae: Any, data: Any, condition: Any) -> tfd.Distribution:
    """q(z|x) of all examples of the data: the network works in blocks, the posterior at once on what it gives."""
    encoder, in_blocks = vae.encoder, True
    if not inputs.is_bulk(data):
        data = inputs.examples(vae, data)
        condition = handed.given(vae.condition, condition, data.shape[0])
        in_blocks = tf.executing_eagerly() and len(data) > rows_at_once(vae)
    elif vae.encodes_as_a_whole:
        data, condition = _gathered(vae, data, condition)
    if in_blocks and type(encoder).call is Encoder.call:
        q = encoder.posterior(
            over_examples(vae, "features", lambda x, c: encoder.features(x, condition_for(encoder, c)), data, condition)
        )
    else:
        q = encoder(tf.cast(data, tf.float32), condition=condition_for(encoder, condition))
    return q if inputs.is_bulk(data) else vae.with_code(tf.cast(data, tf.float32), q)


def _gathered(vae: Any, data: Any, condition: Any) -> tuple[np.ndarray, tf.Tensor | None]:
    parts = list(inputs.example_batches(vae, data, condition, rows_at_once(vae)))
    if not parts:
        return np.zeros((0, *vae.decoder.event_shape), "float32"), None
    given = None if vae.condition is None else tf.concat([c for _, c in parts], axis=0)
    return np.concatenate([x for x, _ in parts]), given


def check_sampling(
    vae: Any, n: Any, seed: Any, condition: Any, temperature: Any
) -> tuple[int, tf.Tensor, tf.Tensor | None, float]:
    """The arguments of `VAE.generate`, checked before any work.

    Raises:
        ValueError: naming what is wrong.
    """
    n = check_count("n", n, at_least=0)
    temperature = check_number("temperature", temperature, at_least=0)
    pair = seeds.as_pair(seed)
    check_draws(vae, n)
    return n, pair, handed.given(vae.condition, condition, n), temperature


def check_draws(vae: Any, rows: int | None, num_samples: int = 1) -> None:
    """Refuse so many draws for so many examples (None where that is not known) that p(x|z) alone could not be held.

    Raises:
        ValueError: with the size.
    """
    rows = 1 if rows is None else rows
    numbers = math.prod(vae.decoder.event_shape) + vae.prior.latent_dim + sum(vae.decoder.noise_sizes)
    # Looking at what is free costs more than a small draw.
    if isinstance(num_samples, int) and rows * num_samples * numbers > SURELY_FREE:
        what = f"{num_samples:,} draws for each of {rows:,} examples" if num_samples > 1 else f"{rows:,} draws"
        check_memory(f"{what} of shape {vae.decoder.event_shape}", 4 * rows * num_samples * numbers)


def draw_latents(vae: Any, n: int, seed: tf.Tensor, condition: tf.Tensor | None, temperature: Any) -> tf.Tensor:
    """n draws z ~ p(z) at a temperature, [n, L], in one call unless the prior needs much memory for each."""
    rows = max(1, DRAW_VALUES // vae.prior.draw_size)
    condition = condition_for(vae.prior, condition)
    if condition is not None:
        rows = min(rows, DRAW_ROWS)
    drawn = []
    for index, block in enumerate(blocks(n, rows)):
        pair = seed if index == 0 else seeds.fold_in(seed, DRAWS, index)
        p = vae.prior.distribution(encoder=vae.encoder, condition=None if condition is None else condition[block])
        # Given a condition, the prior is a batch of distributions.
        z = p.sample(() if p.batch_shape.rank else block.stop - block.start, seed=pair)
        drawn.append(cooled(p, z, temperature))
    return drawn[0] if len(drawn) == 1 else tf.concat(drawn, axis=0)


def draw_examples(
    vae: Any, n: int, seed: tf.Tensor, condition: tf.Tensor | None, temperature: float, noise: bool
) -> np.ndarray | tf.Tensor:
    """Means of p(x|z), or draws from it, for n draws of the latents: see `VAE.sample`."""
    rows = rows_at_once(vae)

    def shown(likelihood: tfd.Distribution, pixels: tf.Tensor | None) -> tf.Tensor:
        return likelihood.mean() if pixels is None else likelihood.sample(seed=pixels)

    def pixels(index: int) -> tf.Tensor | None:
        return seeds.fold_in(seed, PIXELS, index) if noise else None

    def decode(z: tf.Tensor, eps: Sequence[tf.Tensor], condition: tf.Tensor | None, pair: Any) -> tf.Tensor:
        return shown(vae.decoder.draw(z, eps, condition), pair)

    def at_once(seed: tf.Tensor, condition: tf.Tensor | None, pair: Any) -> tf.Tensor:
        return shown(vae.generate(n, seed, condition, temperature).likelihood, pair)

    if not tf.executing_eagerly() or vae.draws_as_a_whole:
        return at_once(seed, condition, pixels(0))
    if n <= rows:
        run = vae.compiled_methods.when_repeated(vae, ("sample", n, temperature, noise), at_once)
        return run(seed, condition, pixels(0))
    z = vae.draw_latents(n, seed, condition, temperature)
    eps = vae.decoder.noise(n, seed, temperature)
    given = condition_for(vae.decoder, condition)
    run = vae.compiled_methods.get(vae, "sample", decode)
    result = np.empty((n, *vae.decoder.event_shape), "float32")
    for index, block in enumerate(blocks(n, rows)):
        some = None if given is None else given[block]
        result[block] = run(z[block], [level[block] for level in eps], some, pixels(index))
    return result


def estimate(vae: Any, x: Any, num_samples: int, seed: tf.Tensor, condition: Any) -> tf.Tensor:
    """The importance-weighted estimate of `VAE.log_prob`, [B]."""
    rows, found = rows_at_once(vae), []

    def log_weights(x: tf.Tensor, num_samples: int, seed: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
        return vae.infer(x, num_samples, seed, condition=condition).log_weights

    run = vae.compiled_methods.get(vae, "log_prob", log_weights)
    for index, (part, given) in enumerate(inputs.example_batches(vae, x, condition, rows)):
        if not len(part):
            continue
        pair = seed if index == 0 else seeds.fold_in(seed, ROWS, index)
        chunk = max(1, min(num_samples, CHUNK_VALUES // math.prod(part.shape)))
        total = tf.fill([len(part)], -math.inf)
        for start in range(0, num_samples, chunk):
            size = min(chunk, num_samples - start)
            log_w = run(tf.convert_to_tensor(part), size, seeds.fold_in(pair, start), given)
            total = tfp.math.log_add_exp(total, tf.reduce_logsumexp(log_w, axis=0))
        found.append(total - math.log(num_samples))
    return tf.concat(found, axis=0) if found else tf.zeros([0])


def imputations(vae: Any, x: Any, num_samples: int, num_particles: int, seed: tf.Tensor, condition: Any) -> np.ndarray:
    """What `Inference.impute` gives, in blocks whose draws fit into memory."""

    def block(x: tf.Tensor, seed: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
        terms = vae.infer(x, num_particles, seed, condition=condition)
        numbers = tf.random.stateless_categorical(
            tf.transpose(terms.log_weights), num_samples, seeds.fold_in(seed, DRAWS), tf.int32
        )

        def taken(particles: tf.Tensor) -> tf.Tensor:
            swapped = tf.gather(tf.experimental.numpy.swapaxes(particles, 0, 1), numbers, batch_dims=1)
            return tf.experimental.numpy.swapaxes(swapped, 0, 1)

        pixels = seeds.fold_in(seed, PIXELS)
        if vae.decoder.needs_features:
            # The lower levels of a hierarchy are drawn on the way down, and cannot be given: a particle that is taken
            # twice has the same draw twice.
            drawn = taken(terms.likelihood.sample(seed=pixels))
        else:
            z = taken(tf.concat([group.z for group in terms.groups], axis=-1))
            drawn = vae.decoder(z, condition=condition_for(vae.decoder, condition)).sample(seed=pixels)
        return tf.where(tf.math.is_nan(x), drawn, x)

    rows = max(1, CHUNK_VALUES // (max(num_particles, num_samples) * math.prod(vae.decoder.event_shape)))
    run, results = vae.compiled_methods.get(vae, f"impute_{num_samples}_{num_particles}", block), []
    for index, (part, given) in enumerate(inputs.example_batches(vae, x, condition, rows)):
        if len(part):
            results.append(run(tf.convert_to_tensor(part), seeds.fold_in(seed, ROWS, index), given))
    none = np.zeros((num_samples, 0, *vae.decoder.event_shape), "float32")
    return np.concatenate(results, axis=1) if results else none


def _array(values: Any) -> np.ndarray:
    """As numpy, so that results are arrays; inside a graph, where that is impossible, the tensor itself."""
    return np.asarray(values) if tf.executing_eagerly() else values
