"""A number for each example that says how normal it is to a model."""

import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae import seeds
from keras_vae.arguments import check_choice, check_count, check_number
from keras_vae.evaluation.normality.regret import REGRET, refuse_regret, regrets
from keras_vae.evaluation.normality.terms import ELBO, KL, LOG_PROB, RECONSTRUCTION, Evaluated, evaluated
from keras_vae.evaluation.statistics import refuse_deterministic
from keras_vae.models import inputs
from keras_vae.models.vae import VAE

TYPICALITY, COMPLEXITY = "typicality", "complexity"
# What one pass gives, which a run keeps of held-out examples; and what is fitted to each example.
TABLED = (ELBO, LOG_PROB, RECONSTRUCTION, KL, TYPICALITY, COMPLEXITY)
KINDS = (*TABLED, REGRET)
# Draws for each example, and draws from the model where typicality has no other reference.
NUM_SAMPLES, OWN_DRAWS = 16, 512
# At the decoder's output a block has about this many numbers, within limits of its rows.
BLOCK_VALUES, FEWEST_ROWS, MOST_ROWS = 2**22, 1, 1024
# Of pixels that are compressed.
GRAYS = 255


def scores(
    vae: VAE,
    data: Any,
    kind: str = ELBO,
    num_samples: int = NUM_SAMPLES,
    seed: int = 0,
    reference: Any = None,
) -> np.ndarray:
    """How normal each example is to a model, in nats: the higher, the more like the data that it was trained on.

    - `elbo`: E_q[log p(x|z)] - KL(q(z|x) || p(z)), a lower bound of log p(x);
    - `log_prob`: log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x), nearer to log p(x) (Burda et al. 2016);
    - `reconstruction`: E_q[log p(x|z)], An and Cho 2015, "Variational autoencoder based anomaly detection using
      reconstruction probability";
    - `kl`: -KL(q(z|x) || p(z)): whether the code lies where codes do;
    - `typicality`: -|log p(x) - m|, m the mean log p of normal data: Nalisnick et al. 2019, "Detecting
      out-of-distribution inputs to deep generative models using typicality", for a single example;
    - `complexity`: log p(x) + the nats into which the pixels of a picture can be compressed: Serra et al. 2020, "Input
      complexity and out-of-distribution detection with likelihood-based generative models";
    - `regret`: ELBO(q) - ELBO(q*), q* the Gaussian of full covariance that 300 steps of Adam fit to the example: the
      negative regret of Xiao et al. 2020, "Likelihood regret: an out-of-distribution detection score for variational
      auto-encoder", who fit the encoder's weights. Some hundred times as much work; of Gaussian posteriors and flows
      over real numbers. Of a blank picture the encoder may miss little: it is no remedy against what follows.

    A likelihood alone fails where anomalies are *simpler* than the normal data: a black picture, a flat one, a smooth
    one. They have a higher log p(x) than any training example (Nalisnick et al. 2019, "Do deep generative models know
    what they don't know?"). `typicality` and `complexity` are the remedies: too good is not normal either.

    The score of an example depends on the model, the kind, K, the seed and the example: not on what else is scored with
    it, nor on batches, but for the last digits of float32. All examples get the same K draws of noise.

    A model with missing values scores what is there. Of a codebook q is certain: `log_prob` is the ELBO. Of a plain
    autoencoder there is `reconstruction` alone, of the point of q.

    Args:
        vae: the model.
        data: a finite data set: array, (x, condition), frame, `tf.data.Dataset` or other iterable of batches.
        kind: one of the above.
        num_samples: K, draws for each example.
        seed: of the draws.
        reference: of `typicality`, what is normal: held-out data, scored with the same K and seed; or m itself, a
            number. Without one, m is of 512 draws from the model, its own entropy: data are the better reference, as a
            model's draws can be less likely to it than data.

    Returns:
        float64 [N], in the order of the data.

    Raises:
        ValueError: for another kind, one that this model does not have, and data that it cannot take.
    """
    kind = check_choice("kind", kind, KINDS)
    refuse_kind(vae, kind)
    if reference is not None and kind != TYPICALITY:
        raise ValueError(f"reference= is of kind='{TYPICALITY}', and this is {kind!r}: leave it out.")
    if kind == REGRET:
        found = [part[REGRET] for _, part in _in_blocks(vae, data, REGRET, regrets, num_samples, seed)]
        return -np.concatenate(found).astype("float64")
    each = all_scores(vae, data, num_samples, seed, complexity=kind == COMPLEXITY)
    if kind == TYPICALITY:
        return typical(each[LOG_PROB], reference_mean(vae, reference, num_samples, seed, data))
    values = each[kind]
    if kind == KL and all(vae.certainties) and len(values) > 1 and not np.ptp(values):
        raise ValueError(
            "All codes are equally likely to the prior of this model, so that the KL is the same number for every "
            "example: take another kind."
        )
    return values


def refuse_kind(vae: VAE, kind: str) -> None:
    """Refuse a kind of score that a model does not have.

    Raises:
        ValueError: with the reason.
    """
    inputs.refuse_targets(vae)
    if kind != RECONSTRUCTION:
        refuse_deterministic(vae, f"kind={kind!r}")
    if kind == REGRET:
        refuse_regret(vae)
    shape = vae.decoder.event_shape
    if kind == COMPLEXITY and (len(shape) != 3 or vae.missing or tuple(vae.decoder.likelihood.support) != (0.0, 1.0)):
        raise ValueError(
            f"kind={COMPLEXITY!r} compresses whole pictures with values from 0 to 1, and this model is of others: "
            f"kind={TYPICALITY!r} is a remedy without pixels."
        )


def kinds_of(vae: VAE) -> tuple[str, ...]:
    """The kinds of scores that a model has of those that one pass gives."""
    found = []
    for kind in TABLED:
        try:
            refuse_kind(vae, kind)
            found.append(kind)
        except ValueError:
            pass
    return tuple(found)


def all_scores(
    vae: VAE, data: Any, num_samples: int = NUM_SAMPLES, seed: int = 0, complexity: bool = False
) -> dict[str, np.ndarray]:
    """The scores that need no reference, each float64 [N], in one pass.

    Args:
        vae: the model.
        data: as in `scores`.
        num_samples: K.
        seed: of the draws.
        complexity: whether that is among them.

    Raises:
        ValueError: for data that the model cannot take, and none.
    """
    parts = []
    for x, part in _in_blocks(vae, data, "scores", evaluated, num_samples, seed):
        parts.append({**part, COMPLEXITY: part[LOG_PROB] + compressed(x)} if complexity else part)
    joined = {key: np.concatenate([part[key] for part in parts]).astype("float64") for key in parts[0]}
    return {key: -value if key == KL else value for key, value in joined.items()}


def _in_blocks(
    vae: VAE, data: Any, name: str, made: Callable[..., Evaluated], num_samples: int, seed: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Blocks of the data, each with its numbers by what `made` makes of the model, K and the seed."""
    num_samples = check_count("num_samples", num_samples)
    pair = [int(n) for n in seeds.as_pair(seed)]
    rows = int(np.clip(BLOCK_VALUES // (num_samples * math.prod(vae.decoder.event_shape)), FEWEST_ROWS, MOST_ROWS))
    if not vae.built:
        vae.build()
    name = f"{name}_{num_samples}_{pair[0]}_{pair[1]}"
    run, is_empty = vae.compiled_methods.get(vae, name, made(vae, num_samples, tf.constant(pair))), True
    for x, condition in inputs.example_batches(vae, data, None, rows):
        if len(x):
            is_empty = False
            yield np.asarray(x), {key: value.numpy() for key, value in run(tf.convert_to_tensor(x), condition).items()}
    if is_empty:
        raise ValueError("There are no data to score: the first batch is empty.")


def typical(log_prob: np.ndarray, mean: float) -> np.ndarray:
    """-|log p(x) - m|, [N]."""
    return -np.abs(log_prob - mean)


def compressed(x: np.ndarray) -> np.ndarray:
    """The nats into which the pixels [N, H, W, C], in 256 grays, can be compressed by zlib, each picture alone."""
    grays = np.rint(GRAYS * np.asarray(x)).astype("uint8")
    # Neighbours are alike: differences along a row compress better, as in PNG files.
    grays = np.diff(grays, axis=2, prepend=np.zeros_like(grays[:, :, :1]))
    return np.array([8.0 * math.log(2.0) * len(zlib.compress(picture.tobytes(), 9)) for picture in grays])


def reference_mean(vae: VAE, reference: Any, num_samples: int, seed: int, data: Any = None) -> float:
    """The mean log p of what is normal; see `scores`."""
    if isinstance(reference, (int, float, np.number)):
        return check_number("reference", reference)
    if reference is None:
        reference = _own_draws(vae, seed, data)
    return float(np.mean(all_scores(vae, reference, num_samples, seed)[LOG_PROB]))


def _own_draws(vae: VAE, seed: int, data: Any) -> Any:
    """Draws of the model, given the conditions of the data in turn if it has any."""
    if vae.condition is None:
        return vae.sample(OWN_DRAWS, seed=seed, noise=True)
    given = np.concatenate([np.asarray(c) for _, c in inputs.example_batches(vae, data, None, MOST_ROWS)])
    given = np.resize(given, (OWN_DRAWS, *given.shape[1:]))
    return vae.sample(OWN_DRAWS, seed=seed, condition=given, noise=True), given
