"""What went wrong between a decoder and its discriminator."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_vae.evaluation.findings.finding import Finding
from keras_vae.models.vae import VAE

# Samples whose standard deviation is less than this part of the data's are alike.
ALIKE = 0.3
# Shares of pictures that the discriminator is right about, of data and of samples both, where it has won.
SURE = 0.98
# Share of the steps that the decoder waited, where it hardly learns.
WAITED = 0.9
CALM = (
    "Give the discriminator less: r1_weight=1 before all else, and keep the margin (0.35), which lets it wait; then a "
    "smaller discriminator_learning_rate, fewer filters, or a later start of the game, at a tenth of the steps."
)


def examine_game(
    vae: VAE, x: np.ndarray, history: Mapping[str, Any], condition: np.ndarray | None = None
) -> list[Finding]:
    """What is wrong with samples and game of a model that has a discriminator of its pictures.

    Args:
        vae: the model.
        x: a few examples [B, *event_shape], of which the spread of the data is taken.
        history: as in `diagnose`.
        condition: of the examples.
    """
    return [*_constant_samples(vae, x, condition), *_of_history(history)]


def spread_of_samples(vae: VAE, x: np.ndarray, condition: np.ndarray | None = None, seed: int = 0) -> float:
    """Standard deviation of as many samples around their mean, over that of the examples around theirs.

    Both are root mean squares over all values: 1 for samples that differ as data do, 0 for samples that are all alike.
    """
    drawn = np.asarray(vae.sample(len(x), seed=seed, condition=condition))
    deviation = float(np.sqrt(np.asarray(x, "float64").var(axis=0).mean()))
    return float(np.sqrt(drawn.astype("float64").var(axis=0).mean())) / max(deviation, 1e-12)


def _constant_samples(vae: VAE, x: np.ndarray, condition: np.ndarray | None) -> list[Finding]:
    if len(x) < 2:
        return []
    spread = spread_of_samples(vae, x, condition)
    if spread >= ALIKE:
        return []
    return [
        Finding(
            "constant_samples",
            spread,
            f"Samples differ from each other by {spread:.0%} of what data do: the decoder draws nearly the same "
            "picture for every z of the prior.",
            "Let z be needed: more pixel_weight or similarity_weight, a smaller adversarial_weight, or a smaller "
            f"weight of the KL (objectives.ELBO(kl_weight=0.5)). {CALM}",
        )
    ]


def _of_history(history: Mapping[str, Any]) -> list[Finding]:
    last = {name: float(np.ravel(values)[-1]) for name, values in history.items() if np.size(values)}
    findings = []
    sure = min(last.get("told_real", 0.0), last.get("told_drawn", last.get("told_reconstructed", 0.0)))
    if sure > SURE:
        findings.append(
            Finding(
                "discriminator_wins",
                sure,
                f"The discriminator is right about {sure:.1%} of pictures and more: what the decoder makes is told at "
                "a glance, and it learns little of how to do better.",
                f"{CALM} Zeros and ones are always told from the means that a Bernoulli decoder makes: give gray "
                "levels, and a likelihood of those.",
            )
        )
    if (waited := last.get("decoder_waits", 0.0)) > WAITED:
        findings.append(
            Finding(
                "decoder_waits",
                waited,
                f"The decoder waited in {waited:.0%} of the steps of the last epoch, because the discriminator knows "
                "too little to teach it anything.",
                "Give the discriminator more: a larger discriminator_learning_rate or more filters; or a larger "
                "margin.",
            )
        )
    if resets := last.get("discriminator_resets", 0.0):
        findings.append(
            Finding(
                "discriminator_reset",
                resets,
                f"The discriminator had won and was drawn anew {resets:.0f} times.",
                f"The game went on. If it happens again and again: {CALM[0].lower()}{CALM[1:]}",
                is_harmful=False,
            )
        )
    return findings
