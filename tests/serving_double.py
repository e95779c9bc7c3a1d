"""A double of TensorFlow Serving: its REST and gRPC interface by its own messages, on TensorFlow's C++ loader.

It is started by the arguments that the server's container gets, serves the highest version of each model of its config,
and refuses what the server refuses, with the same codes: its rules are those of `predict_util.cc`, `json_tensor.cc` and
`http_rest_api_handler.cc` of TensorFlow Serving 2.x. What has no place here: batching, several versions, labels,
classification, metadata, text inputs.
"""

import contextlib
import json
import math
import pickle
import re
import shlex
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format, text_format
from tensorflow_serving.apis import get_model_status_pb2 as status_pb2
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from keras_vae.export.proof import run_saved_model

HTTP = {"INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400, "NOT_FOUND": 404}
DEFAULT = "serving_default"
MOST_WHOLE = 2**24 - 1  # whole numbers up to which float32 has all
PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:predict")
STATUS = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?")


class Refused(Exception):
    """An error of the server: `code` is the name of its status."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Model:
    """The highest version of a model, which is there once its process has loaded it."""

    def __init__(self, folder):
        self.version = max(int(path.name) for path in folder.iterdir() if re.fullmatch(r"\d+", path.name))
        here = Path(__file__).with_name("serving_loader.py")
        command = [sys.executable, "-P", str(here), run_saved_model.__file__, str(folder / str(self.version))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._one_at_a_time = threading.Lock()
        self.signatures = None
        self._loading = threading.Thread(target=self._load)
        self._loading.start()

    def _load(self):
        self.signatures = pickle.load(self._process.stdout)

    def run(self, signature, inputs):
        with self._one_at_a_time:
            pickle.dump((signature, inputs), self._process.stdin)
            self._process.stdin.flush()
            code, answer = pickle.load(self._process.stdout)
        if code != "OK":
            raise Refused(code, answer)
        return answer

    def close(self):
        self._process.stdin.close()
        self._process.wait(60)
        self._loading.join()
        self._process.stdout.close()


class Server:
    """What is behind both interfaces."""

    def __init__(self, command, folder):
        words = shlex.split(command.replace("\\\n", " "))
        outside, inside = words[words.index("-v") + 1].rsplit(":", 1)
        assert outside == "$PWD", "the guide is to be followed in its folder"

        def found(path):
            assert path == inside or path.startswith(inside + "/"), f"the container has no {path}"
            return folder / path[len(inside) :].lstrip("/")

        options = dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)
        assert found(options["batching_parameters_file"]).is_file() and "--enable_batching" in words
        config = model_server_config_pb2.ModelServerConfig()
        text_format.Parse(found(options["model_config_file"]).read_text(), config)
        self.models = {}
        for entry in config.model_config_list.config:
            assert entry.model_platform == "tensorflow"
            self.models[entry.name] = Model(found(entry.base_path))

    def close(self):
        for model in self.models.values():
            model.close()

    def model(self, name, version=None):
        model = self.models.get(name)
        if model is None or model.signatures is None or version not in (None, model.version):
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Refused("NOT_FOUND", f"Servable not found for request: {wanted}")
        return model

    def status(self, name, version=None):
        model = self.models.get(name)
        if model is None or version not in (None, model.version):
            raise Refused("NOT_FOUND", f"Could not find any versions of model {name}")
        answer = status_pb2.GetModelStatusResponse()
        state = "LOADING" if model.signatures is None else "AVAILABLE"
        answer.model_version_status.add(version=model.version, state=state)
        return answer

    def predict(self, request):
        if not request.HasField("model_spec"):
            raise Refused("INVALID_ARGUMENT", "Missing ModelSpec")
        spec = request.model_spec
        model = self.model(spec.name, spec.version.value if spec.HasField("version") else None)
        signature = spec.signature_name or DEFAULT
        if signature not in model.signatures:
            raise Refused("FAILED_PRECONDITION", f'Serving signature key "{signature}" not found.')
        expected, given = set(model.signatures[signature][0]), set(request.inputs)
        if given != expected:
            what = f"Sent extra: {sorted(given - expected)}. Missing but required: {sorted(expected - given)}."
            raise Refused("INVALID_ARGUMENT", f"input size does not match signature: {what}")
        outputs = model.run(signature, {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()})
        unknown = set(request.output_filter) - set(outputs)
        if unknown:
            raise Refused("INVALID_ARGUMENT", f"output tensor alias not found in signature: {sorted(unknown)}")
        answer = predict_pb2.PredictResponse()
        answer.model_spec.name, answer.model_spec.signature_name = spec.name, signature
        answer.model_spec.version.value = model.version
        for name in request.output_filter or outputs:
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return answer

    def predict_json(self, name, version, body):
        """The answer to a REST request, by rows or by columns as it is."""
        try:
            asked = json.loads(body)
        except ValueError as error:
            raise Refused("INVALID_ARGUMENT", f"JSON Parse error: {error}") from error
        if not isinstance(asked, dict) or not isinstance(asked.get("signature_name", ""), str):
            raise Refused("INVALID_ARGUMENT", "JSON Value is not formatted correctly")
        signature = asked.get("signature_name") or DEFAULT
        signatures = self.model(name, version).signatures
        if signature not in signatures:
            raise Refused("INVALID_ARGUMENT", f'Serving signature name: "{signature}" not found in signature def')
        specs = {key: dtype for key, (dtype, _) in signatures[signature][0].items()}
        by_rows = "instances" in asked
        if by_rows == ("inputs" in asked):
            raise Refused("INVALID_ARGUMENT", "Missing 'inputs' or 'instances' key, or both are there")
        inputs = of_rows(asked["instances"], specs) if by_rows else of_columns(asked["inputs"], specs)
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = name, signature
        for key, array in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
        outputs = {key: tf.make_ndarray(tensor) for key, tensor in self.predict(request).outputs.items()}
        if not by_rows:
            columns = {key: plain(array) for key, array in outputs.items()}
            return {"outputs": columns if len(columns) > 1 else next(iter(columns.values()))}
        if len({array.shape[:1] for array in outputs.values()}) != 1:
            raise Refused("INVALID_ARGUMENT", "outputs have inconsistent batch sizes")
        columns = [plain(array) for array in outputs.values()]
        rows = [dict(zip(outputs, row, strict=True)) for row in zip(*columns, strict=True)]
        return {"predictions": rows if len(outputs) > 1 else columns[0]}


def of_rows(instances, specs):
    if not isinstance(instances, list) or not instances:
        raise Refused("INVALID_ARGUMENT", "Expecting 'instances' value to be a non-empty list")
    if not isinstance(instances[0], dict):
        if len(specs) > 1:
            raise Refused("INVALID_ARGUMENT", "instances is a plain list, but expecting list of objects")
        instances = [{next(iter(specs)): value} for value in instances]
    arrays = {name: [] for name in specs}
    for number, row in enumerate(instances):
        if not isinstance(row, dict) or set(row) != set(specs):
            raise Refused("INVALID_ARGUMENT", f"element {number} of 'instances': keys must be equal to {sorted(specs)}")
        for name, value in row.items():
            arrays[name].append(dense(value, specs[name]))
    for name, rows in arrays.items():
        if len({row.shape for row in rows}) > 1:
            raise Refused("INVALID_ARGUMENT", f"Expecting rows of one shape for {name}")
    return {name: np.stack(rows) for name, rows in arrays.items()}


def of_columns(inputs, specs):
    if not isinstance(inputs, dict):
        if len(specs) > 1:
            raise Refused("INVALID_ARGUMENT", "inputs is a plain value/list, but expecting an object")
        inputs = {next(iter(specs)): inputs}
    missing = set(specs) - set(inputs)
    if missing:
        raise Refused("INVALID_ARGUMENT", f"Missing named input: {sorted(missing)} in 'inputs' object.")
    return {name: dense(inputs[name], dtype) for name, dtype in specs.items()}


def dense(value, dtype):
    """An array of nested lists, whose shape is that of the first elements."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    values = []

    def fill(part, level):
        if not isinstance(part, list):
            if level != len(shape):
                raise Refused("INVALID_ARGUMENT", f"JSON Value: {part} found at incorrect level: {level + 1}")
            values.append(number(part, dtype))
        elif level >= len(shape) or len(part) != shape[level]:
            raise Refused("INVALID_ARGUMENT", f"Encountered list at unexpected size: {len(part)} at level: {level}")
        else:
            for inner in part:
                fill(inner, level + 1)

    fill(value, 0)
    return np.array(values, dtype).reshape(shape)


def number(value, dtype):
    whole = isinstance(value, int) and not isinstance(value, bool)
    if dtype == "int32" and whole and -(2**31) <= value < 2**31:
        return value
    if dtype == "float32" and (whole or isinstance(value, float)):
        if (whole and abs(value) > MOST_WHOLE) or (math.isfinite(value) and abs(value) > np.finfo("float32").max):
            raise Refused("INVALID_ARGUMENT", f"Cannot convert JSON value: {value} to float without loss of precision.")
        return value
    raise Refused("INVALID_ARGUMENT", f"JSON Value: {value!r} is not of expected type: {dtype}")


def plain(array):
    """Nested lists of numbers with as many digits as float32 has."""
    if array.dtype == np.float32:
        return np.array([float(str(value)) for value in array.ravel()]).reshape(array.shape).tolist()
    return array.tolist()


def rest_handler(server):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def answer(self, action):
            try:
                code, body = 200, action()
            except Refused as error:
                code, body = HTTP.get(error.code, 500), {"error": str(error)}
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def asked(self, pattern):
            found = pattern.fullmatch(self.path)
            if not found:
                raise Refused("INVALID_ARGUMENT", f"Malformed request: {self.command} {self.path}")
            return found[1], None if found[2] is None else int(found[2])

        def do_GET(self):
            options = {"always_print_fields_with_no_presence": True, "preserving_proto_field_name": True}
            self.answer(lambda: json_format.MessageToJson(server.status(*self.asked(STATUS)), **options).encode())

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.answer(lambda: server.predict_json(*self.asked(PREDICT), body))

    return Handler


def grpc_services(server):
    def answered(action, context):
        try:
            return action()
        except Refused as error:
            return context.abort(getattr(grpc.StatusCode, error.code), str(error))

    class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            return answered(lambda: server.predict(request), context)

    class Models(model_service_pb2_grpc.ModelServiceServicer):
        def GetModelStatus(self, request, context):
            return answered(lambda: server.status(request.model_spec.name), context)

    return Prediction(), Models()


@contextlib.contextmanager
def running(command, folder):
    """The ports of REST and gRPC of a double that was started by a line of the guide in its folder."""
    server = Server(command, folder)
    rest = ThreadingHTTPServer(("127.0.0.1", 0), rest_handler(server))
    remote = grpc.server(ThreadPoolExecutor(4))
    prediction, models = grpc_services(server)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(prediction, remote)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(models, remote)
    port = remote.add_insecure_port("127.0.0.1:0")
    remote.start()
    thread = threading.Thread(target=rest.serve_forever)
    thread.start()
    try:
        yield rest.server_address[1], port
    finally:
        rest.shutdown()
        thread.join()
        rest.server_close()
        remote.stop(None).wait()
        server.close()
