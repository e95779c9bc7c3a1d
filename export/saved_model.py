"""`to_saved_model`: a versioned SavedModel for TensorFlow Serving, verified before it appears."""

import datetime
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae._version import __version__
from keras_vae.distributions.scales import by_slices
from keras_vae.export import publish, serving
from keras_vae.export.calibration import draws
from keras_vae.export.errors import ExportError
from keras_vae.export.proof import battery, warmup
from keras_vae.export.proof.battery import BATCHES
from keras_vae.export.proof.graph_checks import faults
from keras_vae.export.proof.on_examples import indices
from keras_vae.export.proof.report import FILE, Report, dump
from keras_vae.export.proof.verify import check_saved_model
from keras_vae.export.proof.warmup import Record
from keras_vae.export.reproducible import make_canonical
from keras_vae.export.signatures import Signature, meanings, signatures, with_empty_batches
from keras_vae.export.source import Source, half_precision, in_float32, load
from keras_vae.models.vae import VAE

WARMUP_ROWS = (1, 4)


def to_saved_model(
    vae_or_path: Source,
    directory: str | os.PathLike[str],
    version: int | None = None,
    *,
    name: str | None = None,
    examples: Any = None,
) -> Report:
    """Writes ``directory/version`` for TensorFlow Serving, after it passed every check.

    The model is rebuilt in float32 whatever its dtype policy. Signatures: `serving_default` = `decode`, `sample`,
    `encode`, `reconstruct`, `log_likelihood`, `score`, as `keras_vae.export.signatures.signatures` lists them; one that
    the model cannot have is left out, and the report says why. Beside the versions stand `models.config`,
    `batching.config` and `SERVING.md` with the commands that serve it.

    Args:
        vae_or_path: a `keras_vae.VAE`, a `.keras` file, or a run folder with a `vae.keras`.
        directory: the folder of versions.
        version: an integer from 1 to 2^63 - 1, which TensorFlow Serving can read; the highest one plus 1 unless given.
        name: what TensorFlow Serving calls the model; the folder's name unless given.
        examples: held-out examples of a model with codes, better 1,000: the file must give their indices, ties aside.
            An array, (x, condition), or batches; unless given, what the decoder makes of codes drawn at random.

    Returns:
        The report that also stands in ``directory/version/export.json``.

    Raises:
        ExportError: the source is no finite, built VAE that its config leads back to, or its decoder cannot be traced.
        TargetError: the version exists, or the directory is a file.
        VerificationError: a check failed. After any error nothing is left behind.
    """
    base = Path(directory).expanduser()
    version = publish.check_version(base, version)
    name = _check_name(name or base.resolve().name)
    publish.check_beside(*(base / file for file in serving.FILES))
    original = load(vae_or_path)
    vae = in_float32(original)
    texts: dict[str, str] = {}
    with publish.staged_version(base, version, texts) as folder:
        traced, left_out = _trace(vae)
        _write(vae, {key: function for key, (_, function) in traced.items()}, folder)
        texts |= serving.texts(name, version, _guide(vae, traced))
        reference = {key: eager(signature, BATCHES) for key, (signature, _) in traced.items()}
        warmup.write(folder, _records(name, {key: signature for key, (signature, _) in traced.items()}))
        reference["serving_default"] = reference["decode"]
        codes = indices.expected(vae, indices.requests(vae), examples) if "encode_indices" in traced else None
        report = check_saved_model(folder, reference, codes=codes)
        report.facts = describe(original, vae) | {"name": name, "version": version}
        report.left_out = left_out
        if "encode" in traced and "point" in traced["encode"][1].structured_outputs:
            report.notes.append("encode: this posterior has no loc and scale, so it gives `point`, one z for each x")
        report.notes += precision_note(report.facts) + [
            f"{key}: {signature.note}" for key, (signature, _) in traced.items() if signature.note
        ]
        report.require(f"The export to {base / str(version)}")
        (folder / FILE).write_text(dump({"created": now(), **report.to_dict()}))
    report.path = base / str(version)
    return report


def describe(original: VAE, vae: VAE) -> dict[str, Any]:
    """What is known of a model before it is exported: its parts, sizes, and what the rebuild in float32 changed."""
    z = battery.good({"z": ("float32", [None, vae.prior.latent_dim])}, 64)["z"]
    condition = None if vae.decoder.condition is None else tf.constant(vae.decoder.condition.zeros(len(z)))
    rebuilt, trained = (model.decoder(z, condition=condition).mean().numpy() for model in (vae, original))
    trained = trained.astype("float32")
    halves = half_precision(original)
    return {
        "keras_vae": __version__,
        "latent_dim": vae.prior.latent_dim,
        "event_shape": list(vae.decoder.event_shape),
        "posterior": type(vae.encoder.posterior).__name__,
        "prior": type(vae.prior).__name__,
        "likelihood": type(vae.decoder.likelihood).__name__,
        "condition": None if vae.condition is None else str(vae.condition),
        "class_names": names_of_classes(vae),
        "trained_in": halves or ["float32"],
        "difference_of_float32_rebuild": battery.errors({"mean": rebuilt}, {"mean": trained})[0],
    }


def names_of_classes(vae: VAE) -> list[str] | None:
    """The name of label k at index k: clients ask for a class by its number. None where they have no names."""
    names = None if vae.condition is None else vae.condition.names
    return None if names is None else list(names)


def precision_note(facts: dict[str, Any]) -> list[str]:
    """What the rebuild in float32 did to a model trained in 16 bits, nothing for others."""
    if facts["trained_in"] == ["float32"]:
        return []
    kinds, difference = " and ".join(facts["trained_in"]), facts["difference_of_float32_rebuild"]
    return [f"trained in {kinds}, exported in float32: the means of p(x|z) differ by at most {difference:.1e}"]


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise ExportError(f"{name!r} cannot be a model's name in a URL: give name= with letters, digits, _ - and .")
    return name


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _trace(vae: VAE) -> tuple[dict[str, tuple[Signature, Any]], dict[str, str]]:
    """The signatures with their concrete functions, and the names that this model cannot have with the reason."""
    traced, left_out = {}, {}
    for name, signature in signatures(vae).items():
        try:
            traced[name] = signature, trace(with_empty_batches(signature.function), signature.inputs, strict=True)
        # Some parts cannot do what a signature asks; whatever tracing raises then is kept as the reason in the report.
        except (ExportError, AttributeError, TypeError, ValueError, NotImplementedError, tf.errors.OpError) as error:
            if name == "decode":
                raise ExportError(f"the decoder cannot be exported: {error}") from error
            left_out[name] = reason_of(error)
    if vae.num_levels > 1:
        left_out["log_likelihood"] = "p(x given z) of the top level of a hierarchy is an integral over the levels below"
    return traced, left_out


def reason_of(error: Exception) -> str:
    """The line of a message that says what was wrong: under a trace of the user's code that is the last one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1] if lines[0] == "in user code:" else lines[0]


def trace(function: Callable[..., dict[str, tf.Tensor]], specs: dict[str, tf.TensorSpec], strict: bool = False) -> Any:
    """A concrete function without XLA; TensorFlow Serving's binary has it switched off.

    Raises:
        ExportError: if strict, for a graph with something in it that no export may have, such as a random state.
    """
    with by_slices():
        traced = tf.function(function, jit_compile=False).get_concrete_function(**specs)
    found = faults(traced.graph.as_graph_def()) if strict else {}
    wrong = {kind: ops for kind, ops in found.items() if ops and kind != "no assertion"}
    if wrong:
        raise ExportError("; ".join(f"{kind}: found {', '.join(ops)}" for kind, ops in wrong.items()))
    return traced


def _write(vae: VAE, functions: dict[str, Any], folder: Path) -> None:
    """Saves the functions and the raw variables: a root that tracked the Keras model would save every weight twice."""
    write_functions(vae, {"serving_default": functions["decode"], **functions}, folder)
    make_canonical(folder)


def write_functions(vae: VAE, functions: dict[str, Any], folder: Path) -> None:
    """A SavedModel with these signatures and the weights of encoder, decoder and prior, without assertions."""
    root = tf.Module()
    weights = [weight.value for part in (vae.encoder, vae.decoder, vae.prior) for weight in part.weights]
    # A model with an `infer` of its own may look at others, such as its step.
    weights += [weight for name in sorted(functions) for weight in functions[name].graph.variables]
    root.weights = list({id(weight): weight for weight in weights}.values())
    options = tf.saved_model.SaveOptions(experimental_debug_stripper=True)
    tf.saved_model.save(root, str(folder), signatures=functions, options=options)


def eager(
    signature: Signature, batches: tuple[int, ...], given: dict[str, np.ndarray] | None = None
) -> dict[int, dict[str, np.ndarray]]:
    """What Keras itself answers, outside of any graph, for so many rows of `battery.good` or of the given inputs.

    On the CPU, as the fresh processes do: GPUs round products of matrices to fewer bits.
    """
    specs = {name: (spec.dtype.name, spec.shape.as_list()) for name, spec in signature.inputs.items()}
    return {rows: _answer(signature, battery.good(specs, rows, given)) for rows in batches}


def _answer(signature: Signature, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with tf.device("CPU:0"):
        outputs = signature.function(**{name: tf.constant(array) for name, array in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}


def _guide(vae: VAE, traced: dict[str, tuple[Signature, Any]]) -> serving.Guide:
    """What `SERVING.md` says of a model: two pictures are drawn, and the first goes through the other signatures."""
    likelihood, condition, latent_dim = vae.decoder.likelihood, vae.condition, vae.prior.latent_dim
    values: dict[str, np.ndarray] = {
        "seed": np.array([[0, 0], [0, 1]], "int32"),
        "temperature": np.ones(2, "float32"),
        "z": np.zeros((1, latent_dim), "float32"),
        "x": np.zeros((1, *vae.decoder.event_shape), "float32"),
    }
    if condition is not None:
        classes = condition.num_classes
        values["condition"] = condition.zeros(2) if classes is None else np.arange(2, dtype=condition.dtype)
    examples: dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = {}
    # Each takes what those before it gave.
    for name in sorted(traced, key=lambda name: (name != "sample", name == "decode_indices")):
        signature = traced[name][0]
        rows = 2 if name == "sample" else 1
        given = {key: values[key][:rows] for key in signature.inputs}
        if name == "decode":
            given["z"] = given["z"].round(3)
        answer = _answer(signature, given)
        examples[name] = given, answer
        if name == "sample":
            values |= {"z": answer["z"], "x": answer["mean"]}
            if likelihood.levels is not None:
                top = likelihood.levels - 1
                values["x"] = (np.round(answer["mean"] * np.float64(top)) / top).astype("float32")
            elif likelihood.schema is not None:  # means are no rows of a table
                values["x"] = vae.sample(rows, seed=0, noise=True) if vae.condition is None else answer["mean"]
        values |= {key: array for key, array in answer.items() if key == "indices"}
    said = meanings(vae)
    if all(kind == "continuous" for kind, _ in vae.prior.blocks):
        low, high = np.quantile(draws(vae, 512, 0)["z"], (0.01, 0.99))
        said["z"] += f"; of drawn ones 98 in 100 lie from {low:.2g} to {high:.2g}"
    inputs = {name: list(signature.inputs) for name, (signature, _) in traced.items()}
    outputs = {name: sorted(function.structured_outputs) for name, (_, function) in traced.items()}
    specs = {key: spec for signature, _ in traced.values() for key, spec in signature.inputs.items()}
    for _, function in traced.values():
        specs |= {key: spec for key, spec in function.structured_outputs.items() if key not in specs}
    return serving.Guide(
        latent_dim,
        vae.decoder.event_shape,
        inputs,
        outputs,
        {key: (spec.dtype.name, tuple(spec.shape.as_list()[1:])) for key, spec in specs.items()},
        said,
        {name: examples[name] for name in traced},
        likelihood.levels,
        names_of_classes(vae) or (),
    )


def _records(model: str, table: dict[str, Signature]) -> list[Record]:
    records = []
    for name, signature in {"serving_default": table["decode"], **table}.items():
        specs = {key: (spec.dtype.name, spec.shape.as_list()) for key, spec in signature.inputs.items()}
        for rows, outputs in eager(signature, WARMUP_ROWS).items():
            records.append(Record(model, name, battery.good(specs, rows), outputs))
    return records
