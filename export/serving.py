"""The texts that a person needs to serve an exported model: configs, docker line, requests."""

import json
from typing import Any

import numpy as np

IMAGE = "tensorflow/serving"
FILES = ("models.config", "batching.config", "SERVING.md")


def texts(
    name: str,
    version: int,
    latent_dim: int,
    event_shape: tuple[int, ...],
    signatures: dict[str, list[str]],
    given: dict[str, Any] | None = None,
    class_names: list[str] | None = None,
) -> dict[str, str]:
    """File name -> content, for the folder that holds the versions.

    Args:
        name: of the model in TensorFlow Serving.
        version: just written; the texts name it as an example.
        latent_dim: L.
        event_shape: of one picture or vector.
        signatures: those that the export has, with the names of their inputs.
        given: an example of the input `condition`, of a conditional model.
        class_names: the name of label k at index k.
    """
    guide = _guide(name, version, latent_dim, event_shape, signatures, given or {}, class_names or [])
    return dict(zip(FILES, (_models(name), _batching(), guide), strict=True))


def _models(name: str) -> str:
    return f"""model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""


def _batching() -> str:
    # Sizes are powers of two up to the largest: every size that the server makes has then been seen before.
    return """max_batch_size { value: 64 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 100 }
num_batch_threads { value: 4 }
allowed_batch_sizes: 1
allowed_batch_sizes: 2
allowed_batch_sizes: 4
allowed_batch_sizes: 8
allowed_batch_sizes: 16
allowed_batch_sizes: 32
allowed_batch_sizes: 64
"""


def _rest(name: str, signature: str, content: dict[str, object]) -> str:
    body = json.dumps({"signature_name": signature, **content})
    if len(body) > 400:
        # Long inputs from a file: no shell takes a picture as an argument.
        return f"curl -d @{signature}.json http://localhost:8501/v1/models/{name}:predict"
    return f"curl -d '{body}' http://localhost:8501/v1/models/{name}:predict"


def _guide(
    name: str,
    version: int,
    latent_dim: int,
    event_shape: tuple[int, ...],
    signatures: dict[str, list[str]],
    given: dict[str, Any],
    class_names: list[str],
) -> str:
    z = [0.0] * latent_dim
    shape = " x ".join(map(str, event_shape))
    picture = np.zeros(event_shape).tolist()
    values = {"z": z, "x": picture, "seed": [0, 0], "temperature": 1.0, **given}
    calls: dict[str, dict[str, object]] = {}
    for key, inputs in signatures.items():
        instance = {key: values[key] for key in inputs}
        calls[key] = {"instances": [instance, {**instance, "seed": [0, 1]}] if key == "sample" else [instance]}
    curls = "\n".join(f"{_rest(name, key, calls[key])}" for key in signatures)
    files = [key for key in signatures if "@" in _rest(name, key, calls[key])]
    shapes = {key: np.shape(value) for key, value in given.items()}

    def number(key: str) -> str:
        return "0" if np.issubdtype(np.asarray(given[key]).dtype, np.integer) else "0.0"

    condition = "".join(
        f"seed, temperature = [0, 0], 1.0\n{key} = {_zeros(size, number(key)) if size else 0}\n"
        for key, size in shapes.items()
    )
    bodies_of = {key: ", ".join(f'"{name}": {name}' for name in signatures[key]) for key in files}
    instances = ", ".join(f'"{key}": {{{body}}}' for key, body in bodies_of.items())
    dtype = "int32" if any(not size for size in shapes.values()) else "float32"
    feed = "".join(
        f'request.inputs["{key}"].CopyFrom(tf.make_tensor_proto(np.zeros({(1, *size)}, "{dtype}")))\n'
        for key, size in shapes.items()
        if key in signatures["decode"]
    )
    bodies = f"""
The bodies {", ".join(f"`{key}.json`" for key in files)} hold one `x` of {shape} numbers each:

```python
import json

x = {_zeros(event_shape)}  # your picture here: nested lists of {shape} numbers
z = [0.0] * {latent_dim}
{condition}for signature, instance in {{{instances}}}.items():
    with open(f"{{signature}}.json", "w") as file:
        json.dump({{"signature_name": signature, "instances": [instance]}}, file)
```
""" if files else ""  # fmt: skip
    # In JSON no name can end the block, or look like a heading.
    labels = json.dumps(dict(enumerate(class_names)), ensure_ascii=False, indent=0).splitlines()
    classes = "\n".join(["", "", "`condition` is the number of a class:", "", "```json", *labels, "```", "", ""])
    return f"""# Serving `{name}`

z has {latent_dim} numbers, a picture {shape}.{" " if not class_names else classes}Run this in the folder of this file:

```sh
docker run --rm -p 8500:8500 -p 8501:8501 -v "$PWD:/models/{name}" {IMAGE} \\
  --model_config_file=/models/{name}/models.config \\
  --enable_batching --batching_parameters_file=/models/{name}/batching.config
```

Healthy is a body with `"AVAILABLE"`; the status code is 200 while the model still loads:

```sh
curl -s http://localhost:8501/v1/models/{name} | grep -q '"AVAILABLE"'
```

REST, one instance per row:

```sh
{curls}
```
{bodies}
gRPC (`pip install tensorflow-serving-api`):

```python
import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

request = predict_pb2.PredictRequest()
request.model_spec.name = "{name}"
request.model_spec.signature_name = "decode"
request.inputs["z"].CopyFrom(tf.make_tensor_proto(np.zeros((1, {latent_dim}), "float32")))
{feed}stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel("localhost:8500"))
mean = tf.make_ndarray(stub.Predict(request, 10.0).outputs["mean"])  # [1, {", ".join(map(str, event_shape))}]
```

The server looks here every second: once version `{version + 1}` stands beside `{version}`, it switches by itself.
"""


def _zeros(shape: tuple[int, ...], zero: str = "0.0") -> str:
    text = zero
    for size in reversed(shape):
        text = f"[{text}] * {size}" if text == zero else f"[{text} for _ in range({size})]"
    return text
