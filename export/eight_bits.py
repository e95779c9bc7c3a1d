"""What of a file of 8 bits is computed in float32 all the same."""

from collections.abc import Callable, Iterable, Mapping

from keras_vae.export import metadata
from keras_vae.models.vae import VAE

# How a signature is computed: in 8 bits; its products with weights alone in 8 bits; in float32.
ALL, PRODUCTS, NONE = range(3)
# Weights that a signature may have in float32 of its own, in bytes: they make the file larger.
LARGEST_OWN = 2**20
NOTES = {
    PRODUCTS: "{}: of it products with weights alone are computed in 8 bits, which are too few for the rest",
    NONE: "{}: in float32, for which 8 bits are too few, or have no number for a missing value",
}


class EightBits:
    """How each signature of a file is computed: at first as is known of its kind, and more exactly where that fails.

    8 bits would round the sums of a score, and of rows of a table what is in the units of its columns: one of thousands
    beside one of hundredths. A score of values that may be missing has no number for those in 8 bits.

    Args:
        vae: the model.
        of: the name of each signature of the file, and of that of `signatures.signatures` which it is.
    """

    def __init__(self, vae: VAE, of: Mapping[str, str]) -> None:
        self._of = of
        is_of_rows = vae.decoder.likelihood.schema is not None
        self._kinds = dict.fromkeys(of.values(), PRODUCTS if is_of_rows else ALL)
        self._kinds["score"] = NONE if vae.missing else PRODUCTS
        self._at_first = dict(self._kinds)

    @property
    def is_partly_in_float(self) -> bool:
        """Whether there is a signature that is not all in 8 bits."""
        return any(self._kinds[key] != ALL for key in self._of.values())

    def more_exact(self, wrong: Iterable[str], num_weights: Callable[[str], int]) -> bool:
        """Compute what was found wrong more exactly, if that is possible of any of it; whether it is.

        Args:
            wrong: of `signatures.signatures`.
            num_weights: of one of them.
        """
        changed = False
        for key in wrong:
            kind = self._kinds[key]
            may = kind == ALL or (key != "decode" and kind == PRODUCTS and 4 * num_weights(key) <= LARGEST_OWN)
            self._kinds[key] += may
            changed |= may
        return changed

    def notes(self, keys: Iterable[str]) -> list[str]:
        """What is to be said of these, which are in the file."""
        changed = [key for key in dict.fromkeys(keys) if self._kinds[key] != self._at_first[key]]
        changed += ["score"] * ("score" not in changed and self._kinds["score"] == NONE and "score" in keys)
        return [NOTES[self._kinds[key]].format(key) for key in changed]

    def prepared(self, calibrated: bytes) -> tuple[bytes, set[str]]:
        """A calibrated model as it is to be quantised, and the names of the tensors whose operators are in float32."""
        in_float: set[str] = set()
        for name, key in self._of.items():
            if self._kinds[key] != ALL:
                in_float |= metadata.results(calibrated, name, products=self._kinds[key] == NONE)
        return metadata.without_ranges(calibrated, in_float), in_float
