"""The diagnosis during `fit`."""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_vae.arguments import check_count
from keras_vae.evaluation import diagnosis
from keras_vae.evaluation.diagnosis import Finding
from keras_vae.evaluation.statistics import Measure, gather, given, latent_statistics, measure


class Diagnosis(keras.callbacks.Callback):
    """Print each finding of `evaluation.diagnose` once, when it first appears during `fit`.

    Values that are not finite are looked for at the end of each epoch in the logs; everything else every `every` epochs
    and at the end of training, on the first `max_examples` of the data. A finding that is gone again may come back, and
    is then printed again.

    Args:
        data: validation data, or training data if there are none.
        every: number of epochs from one diagnosis to the next; the first comes after as many.
        max_examples: number of examples that are looked at.
        write: what prints a line.

    Attributes:
        findings: those of the last diagnosis.
    """

    def __init__(
        self, data: Any, every: int = 5, max_examples: int = 1000, write: Callable[[str], Any] = print
    ) -> None:
        super().__init__()
        check_count("every", every)
        self.x, self.y = gather(data, max_examples)
        self.every, self.write = every, write
        self.findings: list[Finding] = []
        self._epoch = 0
        self._logs: dict[str, list[float]] = {}
        self._run: Measure | None = None

    def set_model(self, model: Any) -> None:
        """Remember the model."""
        super().set_model(model)
        self._run = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Diagnose, if it is time or a number is not finite."""
        self._epoch = epoch + 1
        for name, value in (logs or {}).items():
            self._logs.setdefault(name, []).append(float(tf.squeeze(value)))
        broken = not all(math.isfinite(values[-1]) for values in self._logs.values())
        if broken or self._epoch % self.every == 0:
            self._diagnose()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Diagnose, unless the last epoch did."""
        if self._epoch % self.every:
            self._diagnose()

    def _diagnose(self) -> None:
        known = {(finding.name, finding.level) for finding in self.findings}
        self._run = self._run or measure(self.model)
        condition = given(self.model, self.y)
        statistics = latent_statistics(self.model, (self.x, condition), run=self._run)
        few = None if condition is None else condition[: diagnosis.SCALE_EXAMPLES]
        self.findings = diagnosis.examine(self.model, statistics, self.x[: diagnosis.SCALE_EXAMPLES], self._logs, few)
        for finding in self.findings:
            if (finding.name, finding.level) not in known:
                self.write(f"epoch {self._epoch}: {finding}")
