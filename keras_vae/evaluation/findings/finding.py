"""One thing that is wrong with a model, in words and as a number."""

import dataclasses
import math
from typing import Any


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        name: of the kind: "posterior_collapse", "unused_dimensions", "constant_code", "ignored_code", "unused_classes",
            "codebook_larger_than_data", "scale_at_bound", "kl_without_mean", "train_validation_gap" or "nonfinite"; of
            a game with a discriminator also "constant_samples", "discriminator_wins", "decoder_waits" or
            "discriminator_reset".
        value: the number that shows it.
        message: what it is, with the number and its unit.
        remedy: what helps.
        is_harmful: False for what is worth knowing but costs nothing.
        level: of a hierarchy, the one that it is about.
    """

    name: str
    value: float
    message: str
    remedy: str
    is_harmful: bool = True
    level: int | None = None

    def __str__(self) -> str:
        return f"{self.name.replace('_', ' ')}: {self.message} {self.remedy}"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; a number that is not finite becomes None."""
        return {**vars(self), "value": self.value if math.isfinite(self.value) else None}
