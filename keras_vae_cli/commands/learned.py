"""What a training has come to: the numbers, a line that says them, and what is wrong with the model."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_vae.evaluation import Finding, nearest_neighbours
from keras_vae.evaluation.diagnosis import SCALE_EXAMPLES, examine
from keras_vae.evaluation.statistics import gather, given, is_deterministic, latent_statistics
from keras_vae.models.vae import VAE
from keras_vae.pictures import is_image

# Drawn, and compared with as many real examples.
COMPARED = 600


@dataclasses.dataclass(frozen=True)
class Learned:
    """What was learned, by test data.

    Attributes:
        active_units: dimensions of z whose mean moves with x.
        latent_dim: of how many.
        samples: how often a nearest neighbour tells drawn from real examples, as `evaluation.TwoSampleTest`; None for
            a model without draws, one whose draws are answers to an image, and where values are missing.
        noun: what the examples are.
        findings: what is wrong.
    """

    active_units: int
    latent_dim: int
    samples: dict[str, Any] | None
    noun: str
    findings: list[Finding]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        found = {"active_units": self.active_units, "latent_dim": self.latent_dim, "samples": self.samples}
        return {**found, "findings": [finding.as_dict() for finding in self.findings]}

    def __str__(self) -> str:
        """A line."""
        said = f"Learned: {self.active_units} of {self.latent_dim} dimensions used"
        if self.samples is None:
            return f"{said}."
        share, drawn, real = (f"{self.samples[key]:.0%}" for key in ("accuracy", "of_drawn", "of_real"))
        told = f"tells drawn from real {self.noun} in {share} of cases, where 50% is chance"
        return f"{said}; a nearest neighbour {told} ({drawn} of the drawn ones, {real} of the real)."


def learned(vae: VAE, data: Any, history: Mapping[str, Any] | None = None, seed: int = 0) -> Learned:
    """Look at a model.

    Args:
        vae: the model.
        data: test data.
        history: of the training, for the diagnosis.
        seed: of all draws.
    """
    found = latent_statistics(vae, data, seed)
    x, y = gather(data)
    condition = given(vae, y, data)
    few = slice(SCALE_EXAMPLES)
    findings = examine(vae, found, x[few], history, None if condition is None else condition[few])
    samples = None
    has_draws = not is_deterministic(vae) and not vae.missing and (vae.condition is None or not vae.condition.is_image)
    if has_draws and not found.num_nonfinite and len(x) > 1:
        real = x[:COMPARED]
        given_too = None if condition is None else condition[:COMPARED]
        is_row = vae.decoder.likelihood.schema is not None
        # A mean of what is black or white is neither, and nearer to every image than images are to each other. Series
        # are not without their noise, and means of rows are no rows.
        noise = vae.decoder.likelihood.levels == 2 or x.ndim == 3 or is_row
        drawn = vae.sample(len(real), seed, given_too, noise=noise)
        real, drawn = (np.asarray(vae.encoder.seen(rows)) if is_row else rows for rows in (real, drawn))
        samples = dataclasses.asdict(nearest_neighbours(real, np.clip(drawn, real.min(), real.max())))
    noun = "images" if is_image(x.shape[1:]) else "series" if x.ndim == 3 else "examples"
    return Learned(int(found.active.sum()), len(found.active), samples, noun, findings)
