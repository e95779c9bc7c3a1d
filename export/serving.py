"""The texts that a person needs to serve an exported model: configs, docker line, requests and their answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

IMAGE = "tensorflow/serving"
FILES = ("models.config", "batching.config", "SERVING.md")
# Bytes of a request above which it is no line to paste, values of a list that are shown of an answer, and digits.
_LONGEST_LINE, _SHOWN, _DIGITS = 400, 3, 4

Arrays = Mapping[str, np.ndarray]
_HOST, _REST, _GRPC = "localhost", 8501, 8500


@dataclass(frozen=True)
class Guide:
    """What is said of a model in `SERVING.md`.

    Attributes:
        latent_dim: L.
        event_shape: of one picture or vector.
        inputs: by signature, the names of its inputs.
        outputs: by signature, the names of its outputs.
        kinds: by the name of an input or output, its type and the shape of a row.
        meanings: by the same names, what it is and which values it has.
        examples: by signature, the rows of a request, and what the model answers.
        levels: of x, where it lies on a grid of them.
        class_names: the name of label k at index k.
    """

    latent_dim: int
    event_shape: tuple[int, ...]
    inputs: Mapping[str, Sequence[str]]
    outputs: Mapping[str, Sequence[str]]
    kinds: Mapping[str, tuple[str, tuple[int, ...]]]
    meanings: Mapping[str, str]
    examples: Mapping[str, tuple[Arrays, Arrays]]
    levels: int | None = None
    class_names: Sequence[str] = field(default_factory=tuple)


def texts(name: str, version: int, guide: Guide) -> dict[str, str]:
    """File name -> content, for the folder that holds the versions.

    Args:
        name: of the model in TensorFlow Serving.
        version: just written; the texts name it as an example.
        guide: what is said of the model.
    """
    return dict(zip(FILES, (_models(name), _batching(), _guide(name, version, guide)), strict=True))


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


def _block(language: str, *lines: str) -> str:
    return "\n".join([f"```{language}", *lines, "```"])


def _url(name: str) -> str:
    return f"http://{_HOST}:{_REST}/v1/models/{name}"


def _by_curl(name: str, guide: Guide) -> list[str]:
    """Requests that are short enough to be pasted, each with its answer."""
    found = []
    for signature, (given, answer) in guide.examples.items():
        columns = {key: _plain(array) for key, array in given.items()}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        predictions: Any = _rows(answer)
        by_row = {"signature_name": signature, "instances": rows}, {"predictions": predictions}
        forms: list[tuple[str, tuple[Any, Any]]] = [("", by_row)]
        if signature == "sample":
            outputs = {key: array.tolist() for key, array in answer.items()}
            forms.append((", by columns", ({"signature_name": signature, "inputs": columns}, {"outputs": outputs})))
        for form, (request, response) in forms:
            body = json.dumps(request)
            if len(body) <= _LONGEST_LINE:
                line = f"curl -d '{body}' {_url(name)}:predict"
                found += [f"`{signature}`{form}:", _block("sh", line), _block("json", _shortened(response))]
    return found


def _plain(array: np.ndarray) -> Any:
    """Numbers as one would write them: float32 has seven digits."""
    return array.astype("float64").round(6).tolist() if array.dtype.kind == "f" else array.tolist()


def _rows(answer: Arrays) -> list[Any]:
    """An answer by rows: of a single output, the server leaves out the name."""
    columns = [array.tolist() for array in answer.values()]
    if len(columns) == 1:
        return list(columns[0])
    return [dict(zip(answer, row, strict=True)) for row in zip(*columns, strict=True)]


def _shortened(value: Any) -> str:
    """JSON in which a text such as "13 more" stands for so many more values, and numbers have four digits."""

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: short(entry) for key, entry in value.items()}
        if isinstance(value, list):
            # One more takes no less room than the words.
            few = value if len(value) <= _SHOWN + 1 else value[:_SHOWN]
            return [*map(short, few), *([f"{len(value) - _SHOWN} more"] if few is not value else [])]
        return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value

    return json.dumps(short(value))


def _table(guide: Guide) -> list[str]:
    lines = ["| signature | of each row it takes | and gives |", "|---|---|---|"]
    for signature, inputs in guide.inputs.items():
        named = [", ".join(f"`{name}`" for name in names) for names in (inputs, guide.outputs[signature])]
        default = " (the default)" if signature == "decode" else ""
        lines.append(f"| `{signature}`{default} | {named[0]} | {named[1]} |")
    lines += ["", "| name | type and shape of a row | what it is, and its values |", "|---|---|---|"]
    for name, (dtype, shape) in guide.kinds.items():
        lines.append(f"| `{name}` | {dtype}{f' {list(shape)}' if shape else ''} | {guide.meanings[name]} |")
    return ["\n".join(lines)]


def _client(name: str, guide: Guide) -> list[str]:
    """A script that asks for what is too long for a command line, with what it prints; nothing if all is short."""
    asked = {key: example for key, example in guide.examples.items() if "x" in example[0]}
    if not asked or "sample" not in guide.examples:
        return []
    drawn, _ = guide.examples["sample"]
    one = ", ".join(f"{key}={json.dumps(_plain(array)[0])}" for key, array in drawn.items())
    shape = " x ".join(map(str, guide.event_shape))
    lines = [
        "import json",
        "import urllib.request",
        "",
        "",
        "def ask(signature, **row):",
        '    body = json.dumps({"signature_name": signature, "instances": [row]}).encode()',
        f'    with urllib.request.urlopen("{_url(name)}:predict", body) as answer:',
        '        return json.load(answer)["predictions"][0]',
        "",
        "",
    ]
    if guide.levels is not None:
        top = guide.levels - 1
        value = "round(x)" if top == 1 else f"round({top} * x) / {top}"
        lines += [
            "def on_grid(x):",
            f"    return list(map(on_grid, x)) if isinstance(x, list) else {value}",
            "",
            "",
        ]
    lines += [f'drawn = ask("sample", {one})', f"# Yours: nested lists of {shape} numbers."]
    lines.append('x = on_grid(drawn["mean"])' if guide.levels is not None else 'x = drawn["mean"]')
    printed = []
    for signature, (given, answer) in asked.items():
        values = {"x": "x", "z": 'drawn["z"]'}
        row = [f"{key}={values.get(key) or json.dumps(_plain(array)[0])}" for key, array in given.items()]
        lines.append(f'print("{signature}", json.dumps(ask("{signature}", {", ".join(row)})))')
        printed.append(f"{signature} {_shortened(_rows(answer)[0])}")
    return [
        "A picture is too long for a command line. In Python, without any package:",
        _block("python", *lines),
        _block("text", *printed),
    ]


def _grpc(name: str, guide: Guide) -> list[str]:
    signature = "sample" if "sample" in guide.examples else "decode"
    given, answer = guide.examples[signature]
    mean = answer["mean"]
    lines = [
        "import grpc",
        "import numpy as np",
        "import tensorflow as tf",
        "from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc",
        "",
        "request = predict_pb2.PredictRequest()",
        f'request.model_spec.name = "{name}"',
        f'request.model_spec.signature_name = "{signature}"',
    ]
    for key, array in given.items():
        value = f'np.array({json.dumps(array.tolist())}, "{array.dtype.name}")'
        lines.append(f'request.inputs["{key}"].CopyFrom(tf.make_tensor_proto({value}))')
    lines += [
        f'stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel("{_HOST}:{_GRPC}"))',
        "answer = stub.Predict(request, 10.0)  # seconds",
        'mean = tf.make_ndarray(answer.outputs["mean"])',
        "print(mean.shape, round(float(mean.min()), 3), round(float(mean.max()), 3))",
    ]
    printed = f"{mean.shape} {round(float(mean.min()), 3)} {round(float(mean.max()), 3)}"
    return ["gRPC (`pip install tensorflow-serving-api`):", _block("python", *lines), _block("text", printed)]


def _guide(name: str, version: int, guide: Guide) -> str:
    shape = " x ".join(map(str, guide.event_shape))
    parts = [f"# Serving `{name}`", f"z has {guide.latent_dim} numbers, a picture {shape}."]
    if guide.class_names:
        # In JSON no name can end the block, or look like a heading.
        labels = json.dumps(dict(enumerate(guide.class_names)), ensure_ascii=False, indent=0).splitlines()
        parts += ["`condition` is the number of a class:", _block("json", *labels)]
    parts += [
        "Run this in the folder of this file:",
        _block(
            "sh",
            f'docker run --rm -p {_GRPC}:8500 -p {_REST}:8501 -v "$PWD:/models/{name}" {IMAGE} \\',
            f"  --model_config_file=/models/{name}/models.config \\",
            f"  --enable_batching --batching_parameters_file=/models/{name}/batching.config",
        ),
        'Healthy is a body with `"AVAILABLE"`; the status code is 200 while the model still loads:',
        _block("sh", f"curl -s {_url(name)} | grep -q '\"AVAILABLE\"'"),
        "## What goes in, and what comes out",
        *_table(guide),
        "A row with another shape or type, or with a name that the signature does not have, gets HTTP 400, "
        "`INVALID_ARGUMENT` by gRPC; a signature that is not there 400, `FAILED_PRECONDITION`; a model or version that "
        "is not there 404, `NOT_FOUND`.",
        "## Requests",
        f"The answers are those of version {version}: numbers are rounded, and a text such as "
        '`"13 more"` stands for as many values.',
        *_by_curl(name, guide),
        *_client(name, guide),
        *_grpc(name, guide),
        f"The server looks here every second: once version `{version + 1}` stands beside `{version}`, it switches by "
        "itself.",
    ]
    return "\n\n".join(parts) + "\n"
