"""Whether the indices of codes that a file gives are those of Keras: ties aside, which are told by their distances."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.conditions.handed import condition_for
from keras_vae.distributions.codes.codebooks import Codebook, codebook_of
from keras_vae.export import calibration
from keras_vae.export.proof.battery import MAX_ROWS, Arrays, Tolerance, good
from keras_vae.export.proof.fresh import Call, Result
from keras_vae.export.proof.report import Check, Report
from keras_vae.export.signatures import signatures
from keras_vae.models.vae import VAE

# Examples that are looked at, and bytes of them at most; a call takes so many.
WANTED, MOST_BYTES, ROWS = 1000, 2**28, 64
SIGNATURES = ("encode_indices", f"encode_indices_{ROWS}")


@dataclasses.dataclass(frozen=True)
class Indices:
    """What Keras says of examples: which codes, and by how much others would have missed.

    Attributes:
        inputs: `x` [N, *event_shape], and its condition.
        indices: int32 [N, *shape].
        vectors: that are quantised, [N, places, D]; None of a posterior that does not show them.
        codes: the codebook.
        source: of what these are, in words.
    """

    inputs: Arrays
    indices: np.ndarray
    vectors: np.ndarray | None
    codes: Codebook
    source: str = ""

    def error(self, served: np.ndarray, expected: np.ndarray, rows: Any = slice(None)) -> np.ndarray:
        """How far the vectors would have to move for the indices that differ, [rows, places * depth].

        By max(1, max |v|), dimensionless, as other errors are: 0 for equal ones; infinite for what is no code.

        Args:
            served: indices of some of the examples, [rows, *shape].
            expected: likewise.
            rows: which these are.
        """
        different = np.reshape(served != expected, [len(served), -1])
        found = np.where(different, np.inf, 0.0)
        if self.vectors is None:
            return found
        vectors = self.vectors[rows][: len(served)]
        size = max(1.0, float(np.abs(self.vectors).max(initial=0.0)))
        places, depth = vectors.shape[1], self.codes.depth
        # Of stages, what follows a tie is another code for good, too: a place is judged as a whole.
        at = np.reshape(different, [-1, places, depth]).any(axis=-1)
        pair = [np.reshape(each, [-1, places, *self.codes.tail])[at] for each in (served, expected)]
        known = [((each >= 0) & (each < self.codes.num_codes)).reshape(-1, depth).all(axis=-1) for each in pair]
        gaps = [
            np.where(
                is_code,
                self.codes.gaps(vectors[at], np.where(is_code.reshape(-1, *[1] * len(self.codes.tail)), own, 0))
                .reshape(-1, depth)
                .T,
                np.inf,
            )
            for own, is_code in zip(pair, known, strict=True)
        ]
        shaped = np.reshape(found, [-1, places, depth])
        shaped[at] = np.maximum(*gaps).T / size
        return np.reshape(shaped, different.shape)

    def calls(self, offered: Any) -> list[Call]:
        """The requests for the indices of all, as far as the file has a signature for them."""
        name = next((name for name in SIGNATURES if name in offered), None)
        blocks = range(0, len(self.indices), ROWS) if name else ()
        rows = [np.arange(start, start + ROWS) % len(self.indices) for start in blocks]
        return [Call(name or "", {key: array[some] for key, array in self.inputs.items()}) for some in rows]

    def judge(self, report: Report, calls: list[Call], results: list[Result], tolerance: Tolerance) -> None:
        """Add a check, an error and a line in words of the results of `calls`."""
        if not calls:
            return
        name, wrong = calls[0].signature, [result.message for result in results if not result.ok]
        what = f"indices of {len(self.indices):,} {self.source}"
        # An export that may do without a signature finds its name at the end.
        check = f"{what}: {name}"
        if wrong:
            report.checks.append(Check(check, False, wrong[0]))
            return
        served = np.concatenate([result.outputs["indices"] for result in results])[: len(self.indices)]
        if served.shape != self.indices.shape:
            report.checks.append(Check(check, False, f"it gives {served.shape}, not {self.indices.shape}"))
            return
        errors = self.error(served, self.indices)
        missed, different = int((errors > tolerance.largest).sum()), int((served != self.indices).sum())
        report.errors.setdefault(name, {})["examples, max"] = float(errors.max(initial=0.0))
        detail = (
            f"{different:,} of {served.size:,} differ from eager Keras, of which {missed:,} are no ties: the "
            f"vectors lie {errors.max(initial=0.0):.1e} nearer to the other code, more than {tolerance.largest:g}"
        )
        report.checks.append(Check(check, not missed, detail if missed else ""))
        if not missed:
            ties = f"all but {different:,} ties" if different else "all"
            report.notes.append(f"{name}: {ties} of {served.size:,} {what} are those of Keras")


@dataclasses.dataclass(frozen=True)
class Expected:
    """`good`, of the requests of the battery, and `shown`, of 1,000 examples."""

    good: Indices
    shown: Indices


def expected(vae: VAE, asked: Arrays, examples: Any = None) -> Expected | None:
    """What a file must give; None of a model without codes.

    Args:
        vae: the model, in float32.
        asked: inputs of 64 rows, as the battery makes them.
        examples: held-out data: an array, (x, condition), or batches. None for what the decoder makes of codes that are
            drawn at random.

    Raises:
        ExportError: for data that never end, are none of this model, or none at all.
    """
    if vae.encoder.posterior.num_codes is None:
        return None
    count = max(ROWS, min(WANTED, MOST_BYTES // (4 * int(np.prod(vae.decoder.event_shape)))))
    if examples is None:
        shown, source = _made(vae, count), "examples that the decoder made of random codes, since none were given"
    else:
        read = calibration.read(vae, examples, count, "examples")
        shown, source = {name: array[:count] for name, array in read.items()}, "held-out examples"
    return Expected(_of_keras(vae, asked), _of_keras(vae, shown, source))


def requests(vae: VAE, given: Arrays | None = None) -> Arrays:
    """The inputs of `battery.good` for `encode_indices`."""
    specs = signatures(vae)["encode_indices"].inputs if vae.encoder.posterior.num_codes is not None else {}
    return good({name: (spec.dtype.name, spec.shape.as_list()) for name, spec in specs.items()}, MAX_ROWS, given)


def _of_keras(vae: VAE, inputs: Arrays, source: str = "") -> Indices:
    posterior = vae.encoder.posterior
    indices, vectors = [], []
    for start in range(0, len(inputs["x"]), ROWS):
        x, c = (inputs[key][start : start + ROWS] if key in inputs else None for key in ("x", "condition"))
        # As the fresh processes do: GPUs round products of matrices to fewer bits.
        with tf.device("CPU:0"):
            given = condition_for(vae.encoder, None if c is None else tf.constant(c))
            q, _ = vae.encoder.ascend(tf.constant(x), condition=given, training=False)
            q = vae.with_code(tf.constant(x), q)
        indices.append(np.reshape(q.indices, [-1, *posterior.indices_shape]).astype("int32"))
        vectors.append(getattr(q, "features", None))
    known = None if vectors[0] is None else np.concatenate([np.asarray(v) for v in vectors])
    codes = codebook_of(posterior.codes if hasattr(posterior, "codes") else posterior.codebook)
    return Indices(inputs, np.concatenate(indices), known, codes, source)


def _made(vae: VAE, count: int) -> Arrays:
    posterior = vae.encoder.posterior
    drawn = np.random.default_rng(0).integers(0, posterior.num_codes, [count, *posterior.indices_shape])
    given = calibration.typical_conditions(vae, count)
    found = []
    for start in range(0, count, ROWS):
        c = given["condition"][start : start + ROWS] if given else None
        with tf.device("CPU:0"):
            z = posterior.lookup(tf.constant(drawn[start : start + ROWS], tf.int32))
            of_decoder = condition_for(vae.decoder, None if c is None else tf.constant(c))
            found.append(np.asarray(vae.decoder(z, condition=of_decoder, training=False).mean(), "float32"))
    return {"x": np.concatenate(found), **given}
