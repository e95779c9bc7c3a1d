"""Write compiled training steps as StableHLO, with all that `run.py` needs to run them without TensorFlow.

    python benchmarks/gpu/write.py FOLDER

For an MLP, a convolutional model, one with a RealNVP prior and a hierarchy, each in float32, mixed_bfloat16 and
mixed_float16, FOLDER gets the step of `VAE.train_step` with its optimizer at each batch size, the variables that it
starts from, the images, and what 20 steps give on this processor. `index.json` says what is what; cases that it has
already stay unless they are asked for again. The noise is part of the step: Philox, from the model's seed and its step.
"""

import argparse
import datetime
import json
import lzma
import platform
import re
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flops
import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits

import keras_vae as kv
from keras_vae import likelihoods, networks, posteriors, priors

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
BATCH_SIZES = (128, 1024, 8192)
STEPS, LEARNING_RATE = 20, 1e-3
# Values of each variable that are kept of the results: all of small ones, evenly spaced ones of large ones.
KEPT = 4096
HALF = {"mixed_bfloat16": "bf16", "mixed_float16": "f16"}
TYPES = {"f32": tf.float32, "f16": tf.float16, "bf16": tf.bfloat16, "i64": tf.int64, "i32": tf.int32, "i1": tf.bool}


def mlp(small: bool) -> kv.VAE:
    """784-512-256-16, as in benchmarks/run.py."""
    units, latent_dim = ((32, 16), 4) if small else ((512, 256), 16)
    return _plain(networks.mlp(units), networks.mlp(units[::-1]), latent_dim, priors.StandardNormal(latent_dim))


def conv(small: bool) -> kv.VAE:
    """Convolutions of stride 2 with 32, 64 and 128 filters, and the way back."""
    filters, latent_dim = ((4, 4), 4) if small else ((32, 64, 128), 16)
    return _plain(networks.conv(filters), networks.conv(filters[::-1]), latent_dim, priors.StandardNormal(latent_dim))


def flow(small: bool) -> kv.VAE:
    """An MLP below a RealNVP prior of eight coupling layers, at 32 latents."""
    units, latent_dim = ((32,), 4) if small else ((512, 256), 32)
    prior = priors.RealNVP(latent_dim, num_layers=2, units=(8,)) if small else priors.RealNVP(latent_dim)
    return _plain(networks.mlp(units), networks.mlp(units[::-1]), latent_dim, prior)


def hierarchical(small: bool) -> kv.VAE:
    """The model of configs/cifar10_hierarchical.yaml: six levels of latents, residual convolutions."""
    up, down, latents = [24, 48, 64, 96], [96, 64, 48, 16], [16, 16, 16, 16, 16, 0, 0, 0]
    if small:
        up, down, latents = [4, 4], [4, 4], [2, 2, 0, 0]
    latent_dim = 4 if small else 64
    return kv.VAE(
        kv.LadderEncoder(networks.residual(up), posteriors.MultivariateNormalDiag(latent_dim)),
        kv.LadderDecoder(networks.residual(down), likelihoods.DiscretizedLogistic((32, 32, 3)), latents=latents),
        priors.StandardNormal(latent_dim),
        seed=0,
    )


def _plain(encoder: Any, decoder: Any, latent_dim: int, prior: Any) -> kv.VAE:
    return kv.VAE(
        kv.Encoder(encoder, posteriors.MultivariateNormalDiag(latent_dim)),
        kv.Decoder(decoder, likelihoods.Bernoulli((28, 28, 1))),
        prior,
        seed=0,
    )


def black_and_white() -> np.ndarray:
    """The digits that come with scikit-learn in the size of MNIST, uint8 [1797, 28, 28, 1] of 0 and 1."""
    return (_digits(28) > 127).astype(np.uint8)[..., np.newaxis]


def coloured() -> np.ndarray:
    """The digits in a colour each before another, uint8 [1797, 32, 32, 3]."""
    gray = _digits(32)[..., np.newaxis] / 255.0
    ink, paper = np.random.default_rng(0).uniform(0.0, 255.0, (2, len(gray), 1, 1, 3))
    return np.round(gray * ink + (1.0 - gray) * paper).astype(np.uint8)


def _digits(size: int) -> np.ndarray:
    images = (load_digits().images * 255.0 / 16.0).astype(np.uint8)
    resized = [Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR) for image in images]
    return np.random.default_rng(0).permutation(np.stack([np.asarray(image) for image in resized]))


class Model(NamedTuple):
    """How a model is made, small or not, and its images: uint8, of which 1 is `white`."""

    make: Callable[[bool], kv.VAE]
    images: Callable[[], np.ndarray]
    white: int


MODELS = {
    "mlp": Model(mlp, black_and_white, 1),
    "conv": Model(conv, black_and_white, 1),
    "flow": Model(flow, black_and_white, 1),
    "hierarchical": Model(hierarchical, coloured, 255),
}


def batch(images: np.ndarray, white: int, step: int, size: int) -> np.ndarray:
    """The batch of a step, as `run.py` makes it: the next `size` images, from the first again after the last."""
    return images[np.arange(step * size, (step + 1) * size) % len(images)].astype(np.float32) / np.float32(white)


def write(
    folder: Path, name: str, precision: str, batch_sizes: Sequence[int], steps: int, small: bool
) -> dict[str, Any]:
    """Write one model in one precision; what stands in the index of it.

    Args:
        folder: which is there.
        name: of a model.
        precision: a dtype policy of Keras.
        batch_sizes: a program for each; the first, and least, is that of the reference.
        steps: of the reference.
        small: a model for tests.
    """
    model = MODELS[name]
    keras.backend.clear_session()  # so that variables have the same names in all precisions; the policy goes with it
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(0)
    vae, images = model.make(small), model.images()
    vae.compile(keras.optimizers.Adam(LEARNING_RATE))
    vae.prepare_to_learn()
    vae.adapt(batch(images, model.white, 0, 1024))
    signature = [tf.TensorSpec((None, *images.shape[1:]), tf.float32)]
    step = tf.function(vae.train_step, jit_compile=True, input_signature=signature)
    captured = step.get_concrete_function().captured_inputs
    programs, operations = {}, {}
    for size in batch_sizes:
        text = step.experimental_get_compiler_ir(tf.constant(batch(images, model.white, 0, size)))(stage="stablehlo")
        text = only_stablehlo(text)
        if f"x{HALF.get(precision, 'f32')}>" not in text:
            raise RuntimeError(f"the step of {name} has nothing in it of {precision}")
        programs[size] = f"{name}_{precision}_{size}.mlir.xz"
        (folder / programs[size]).write_bytes(lzma.compress(text.encode()))
        operations[size] = flops.count(text)
        if size == batch_sizes[0]:
            arguments = _arguments(text)[1:]
            feeds = _feeds(text)
    names = _names(vae, captured)
    if [shape for shape, _ in arguments] != [[*tensor.shape] for tensor in _read(captured, arguments)]:
        raise RuntimeError(f"the arguments of {name} in {precision} are not the variables that were captured")
    state = [tensor.numpy() for tensor in _read(captured, arguments)]
    is_weight = [any(handle is v.value.handle for v in vae.trainable_variables) for handle in captured]
    results, started = [], time.monotonic()
    for i in range(steps):
        results.append(step(tf.constant(batch(images, model.white, i, batch_sizes[0]))))
    seconds = time.monotonic() - started
    order = sorted(step.get_concrete_function().structured_outputs)  # as TensorFlow flattens a dictionary
    logs = {key: np.array([float(result[key]) for result in results]) for key in order}
    strides = [-(-values.size // KEPT) or 1 for values in state]
    after = {
        f"after/{key}": tensor.numpy().ravel()[::stride]
        for key, tensor, stride, weight in zip(names, _read(captured, arguments), strides, is_weight, strict=True)
        if weight or tensor.dtype.is_integer
    }
    np.savez_compressed(
        folder / f"{name}_{precision}.npz", **after, **{f"logs/{key}": value for key, value in logs.items()}
    )
    of_images, *initial = _stored(folder / f"{name}.npz", [images, *state])
    print(f"{name} {precision}: loss {logs['loss'][0]:.4f} to {logs['loss'][-1]:.4f}, {seconds:.0f} s", flush=True)
    return {
        "model": name,
        "precision": precision,
        "white": model.white,
        "steps": steps,
        "programs": programs,
        "flops": operations,
        "weights": sum(int(np.prod(v.shape)) for v in vae.trainable_variables),
        "arguments": names,
        "is_weight": is_weight,
        # Of the results of these, every n-th value is kept.
        "strides": strides,
        "images": of_images,
        "initial": initial,
        "results": order,
        # Of each result: which argument it is in the next step.
        "feeds": feeds,
    }


def only_stablehlo(text: str) -> str:
    """The module without `mhlo.copy`, which changes nothing and which JAX cannot hand to a plugin such as CUDA's.

    Raises:
        RuntimeError: if there are other operations that are no StableHLO.
    """
    text = re.sub(r"mhlo\.copy (%[\w#]+) : (tensor<[^>]*>)", r"stablehlo.reshape \1 : (\2) -> \2", text)
    dialects = set(re.findall(r"^\s*(?:%[\w:#, ]+ = )?\"?([a-z_]+)\.[a-z_]+", text, re.M)) - {"stablehlo", "func"}
    if dialects or "custom_call" in text:
        raise RuntimeError(f"the step has more than StableHLO: {', '.join(sorted(dialects)) or 'custom calls'}")
    return text


def _arguments(text: str) -> list[tuple[list[int], str]]:
    signature = re.search(r"func\.func (?:public )?@main\((.*)", text).group(1).split(") -> ")[0]
    found = re.findall(r"%arg\d+: tensor<([^>]*)>", signature)
    return [([int(size) for size in part.split("x")[:-1]], part.split("x")[-1]) for part in found]


def _feeds(text: str) -> list[tuple[int, int]]:
    """Pairs (result, argument) of the same variable, of which XLA says that they may share memory."""
    pairs = re.findall(r"parameter_number = (\d+)[^}]*\}, output_index = array<i64: (\d+)>", text)
    return [(int(result), int(argument)) for argument, result in pairs]


def _read(captured: list[tf.Tensor], arguments: list[tuple[list[int], str]]) -> list[tf.Tensor]:
    return [
        tf.raw_ops.ReadVariableOp(resource=handle, dtype=TYPES[kind]) if handle.dtype == tf.resource else handle
        for handle, (_, kind) in zip(captured, arguments, strict=True)
    ]


def _names(vae: kv.VAE, captured: list[tf.Tensor]) -> list[str]:
    variables = [*vae.variables, *vae.optimizer.variables, *vae.metrics_variables]
    paths = {id(v.value.handle): v.path for v in variables}
    found = [paths.get(id(handle), "other") for handle in captured]
    return [f"{path}#{found[:i].count(path)}" if found.count(path) > 1 else path for i, path in enumerate(found)]


def _stored(path: Path, arrays: list[np.ndarray]) -> list[str]:
    """Add arrays to a file, each once; their names in it."""
    found = {}
    if path.exists():
        with np.load(path) as before:
            found = {name: before[name] for name in before.files}
    names = {_content(array): name for name, array in found.items()}
    for array in arrays:
        name = names.setdefault(_content(array), f"array_{len(names)}")
        found[name] = array
    np.savez_compressed(path, **found)
    return [names[_content(array)] for array in arrays]


def _content(array: np.ndarray) -> tuple:
    return str(array.dtype), array.shape, array.tobytes()


def main() -> None:
    """Write what was asked for, and the index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=list(BATCH_SIZES), help="the least is checked")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--small", action="store_true", help="small models, for tests")
    options = parser.parse_args()
    options.batch_sizes.sort()
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "index.json"
    if any(options.folder.iterdir()) and not path.exists():
        parser.error(f"{options.folder} has other files")
    written = {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "keras_vae": kv.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"] if path.exists() else []
    failed = False
    for name in options.models:
        for precision in options.precisions:
            try:
                case = write(options.folder, name, precision, options.batch_sizes, options.steps, options.small)
            except Exception:  # of any kind, and told: the other cases are still to be written
                traceback.print_exc()
                print(f"{name} {precision}: FAILED", flush=True)
                failed = True
                continue
            cases = [other for other in cases if (other["model"], other["precision"]) != (name, precision)]
            cases.append(case)
            index = {"written": written, "cases": cases}
            path.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    sys.exit(int(failed))


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.*)", path.read_text()) if path.exists() else None
    return found.group(1) if found else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
