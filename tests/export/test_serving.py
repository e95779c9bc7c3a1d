"""`SERVING.md` as its reader uses it: each request in it is sent over loopback, and answered as it says.

By a double of TensorFlow Serving, and by the server itself where there is docker: `pytest -m docker`.
"""

import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import NamedTuple

import export_models
import keras
import numpy as np
import parts
import pytest
from processes import free_ports

import keras_vae as kv
from keras_vae import export, likelihoods, networks, posteriors

pytest.importorskip("tensorflow_serving", reason="pip install tensorflow-serving-api, which '.[test]' does")

import grpc
import serving_double
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

L, EVENT = export_models.LATENT, export_models.EVENT


class Served(NamedTuple):
    """A model, the guide to it, and the ports at which it is served."""

    vae: kv.VAE
    guide: str
    rest: int
    grpc: int

    def moved(self, text):
        for port, moved in ((8501, self.rest), (8500, self.grpc)):
            text = text.replace(f"localhost:{port}", f"127.0.0.1:{moved}")
        return text

    def post(self, path, body):
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest}{path}", body.encode())
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def plain(_digits):
    return export_models.trained(_digits, "dense", epochs=1)


def grays(_digits):
    return export_models.make(likelihood=likelihoods.Normal(EVENT), network="conv")


def codes_of_a_class(_digits):
    return export_models.codes_of_a_class()


def hierarchy(_digits):
    vae = kv.VAE(
        parts.encoder("ladder_mlp", [16, 16], posteriors.MultivariateNormalDiag(L), None),
        kv.LadderDecoder(networks.mlp([16, 16]), likelihoods.Bernoulli(EVENT), 2),
        parts.priors.StandardNormal(L),
    )
    vae.build()
    return vae


def blocks(guide, language=r"\w+"):
    return re.findall(rf"^```({language})\n(.*?)^```", guide, re.DOTALL | re.MULTILINE)


@contextmanager
def in_docker(command, folder):
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("there is no docker that runs here")
    rest, remote = free_ports(2)
    name = f"keras_vae_{rest}"
    moved = command.replace("8501:8501", f"{rest}:8501").replace("8500:8500", f"{remote}:8500")
    process = subprocess.Popen(["sh", "-c", moved.replace("docker run", f"docker run --name {name}")], cwd=folder)
    try:
        yield rest, remote
    finally:
        subprocess.run(["docker", "kill", name], capture_output=True, check=False)
        process.wait(60)


STARTS = {"double": serving_double.running, "docker": in_docker}
OTHERS = (grays, codes_of_a_class, hierarchy)
CASES = [
    pytest.param("double", plain, id="double-plain"),
    *(pytest.param("double", model, id=f"double-{model.__name__}", marks=pytest.mark.slow) for model in OTHERS),
    *(pytest.param("docker", one, id=f"docker-{one.__name__}", marks=pytest.mark.docker) for one in (plain, *OTHERS)),
]
pytestmark = pytest.mark.parametrize(("which", "model"), CASES, scope="module")


@pytest.fixture(scope="module")
def served(which, model, digits, tmp_path_factory):
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("serving") / "digits"
    vae = model(digits)
    export.to_saved_model(vae, folder)
    guide = (folder / "SERVING.md").read_text()
    (command,) = [text for _, text in blocks(guide, "sh") if text.startswith("docker run")]
    with STARTS[which](command, folder) as (rest, remote):
        found = Served(vae, guide, rest, remote)
        wait_until_healthy(found)
        yield found


def wait_until_healthy(served):
    """By the line of the guide, which answers while the model loads as well."""
    (line,) = [text for _, text in blocks(served.guide, "sh") if text.startswith("curl -s")]
    url, wanted = re.fullmatch(r"curl -s (\S+) \| grep -q '(.*)'\n", served.moved(line)).groups()
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                if wanted in answer.read().decode():
                    return
        except OSError:
            pass  # a container takes a moment until it listens
        time.sleep(0.1)
    pytest.fail("not healthy within a minute")


def agrees(said, answered):
    """Whether an answer is what the guide says, in which numbers have four digits and lists are cut."""
    if isinstance(said, dict):
        return set(said) == set(answered) and all(agrees(said[key], answered[key]) for key in said)
    if isinstance(said, list):
        more = re.fullmatch(r"(\d+) more", said[-1]) if said and isinstance(said[-1], str) else None
        shown = said[:-1] if more else said
        length = len(shown) + (int(more[1]) if more else 0)
        return len(answered) == length and all(map(agrees, shown, answered))
    return answered == pytest.approx(said, rel=2e-3, abs=1e-5)


def check_requests(served, guide):
    """Sends each line that can be pasted, and compares its answer with the block behind it."""
    found = blocks(guide)
    sent = []
    for (_, line), (language, said) in itertools.pairwise(found):
        if line.startswith("curl -d"):
            _, _, body, url = shlex.split(line)
            code, answer = served.post(url.partition(":8501")[2], body)
            assert (code, language) == (200, "json"), answer
            assert agrees(json.loads(said), answer), f"{line} answered {answer}"
            sent.append(json.loads(body)["signature_name"])
    return sent


def test_every_line_is_answered_as_the_guide_says(served):
    sent = check_requests(served, served.guide)
    assert sent.count("sample") == 2 and "decode" in sent


def test_a_guide_that_is_wrong_is_found(served):
    for right, wrong in (('{"seed": [0, 0]', '{"sead": [0, 0]'), ("[0, 1]", "[0, 7]"), ("more", "fewer")):
        assert right in served.guide
        with pytest.raises((AssertionError, TypeError)):
            check_requests(served, served.guide.replace(right, wrong))


def test_the_scripts_print_what_the_guide_says(served, tmp_path):
    found = blocks(served.guide)
    scripts = [(code, found[i + 1]) for i, (language, code) in enumerate(found) if language == "python"]
    assert ["urllib" in code for code, _ in scripts] == [True, False]
    for code, (language, said) in scripts:
        assert language == "text"
        process = subprocess.run(
            [sys.executable, "-P", "-c", served.moved(code)], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert process.returncode == 0, process.stderr[-2000:]
        lines = process.stdout.splitlines()
        assert len(lines) == len(said.splitlines())
        for printed, line in zip(lines, said.splitlines(), strict=True):
            assert printed.split(" ")[0] == line.split(" ")[0]
            if "urllib" in code:
                assert agrees(json.loads(line.partition(" ")[2]), json.loads(printed.partition(" ")[2])), printed
            else:
                assert printed == line


def test_the_guide_names_each_signature_and_says_what_its_values_are(served):
    asked = set(re.findall(r'"signature_name": "(\w+)"|ask\("(\w+)"', served.guide))
    asked = {name for pair in asked for name in pair if name}
    rows = [line.split(" | ") for line in served.guide.splitlines() if line.startswith("| `")]
    signatures = [row for row in rows if row[1].startswith("`")]
    values = [row for row in rows if not row[1].startswith("`")]
    named = {re.search(r"`(\w+)`", row[0])[1] for row in signatures}
    assert named == asked and {"decode", "sample", "encode", "reconstruct"} <= named
    described = {re.search(r"`(\w+)`", row[0])[1] for row in values}
    assert described == {name for row in signatures for name in re.findall(r"`(\w+)`", " ".join(row[1:]))}


# What the server refuses, and how. The first of a pair is the path, the second the body.
HERE = "/v1/models/digits:predict"
Z = [0.0] * L
REFUSED = {
    "no such model": ("/v1/models/other:predict", {"instances": [{"z": Z}]}, 404),
    "no such version": ("/v1/models/digits/versions/7:predict", {"instances": [{"z": Z}]}, 404),
    "no such signature": (HERE, {"signature_name": "log_prob", "instances": [{"z": Z}]}, 400),
    "no such input": (HERE, {"instances": [{"code": Z}]}, 400),
    "one input too many": (HERE, {"instances": [{"z": Z, "seed": [0, 0]}]}, 400),
    "too few numbers": (HERE, {"instances": [{"z": Z[1:]}]}, 400),
    "too many axes": (HERE, {"instances": [{"z": [Z]}]}, 400),
    "rows of two lengths": (HERE, {"instances": [{"z": Z}, {"z": Z[1:]}]}, 400),
    "text": (HERE, {"instances": [{"z": ["a"] * L}]}, 400),
    "halves for whole numbers": (HERE, {"signature_name": "sample", "instances": [{"seed": [0.5, 1]}]}, 400),
    "no rows": (HERE, {"instances": []}, 400),
    "neither rows nor columns": (HERE, {"rows": [{"z": Z}]}, 400),
    "both": (HERE, {"instances": [{"z": Z}], "inputs": {"z": [Z]}}, 400),
    "no such column": (HERE, {"inputs": {"code": [Z]}}, 400),
    "no such method": ("/v1/models/digits:imagine", {"instances": [{"z": Z}]}, 400),
}


@pytest.fixture
def unconditional(served):
    if served.vae.condition is not None:
        pytest.skip("these requests are of a model without a condition")
    return served


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_wrong_is_refused(what, unconditional):
    path, body, code = REFUSED[what]
    found, answer = unconditional.post(path, json.dumps(body))
    assert (found, set(answer)) == (code, {"error"})


def test_rows_may_be_bare_where_there_is_one_input_and_columns_are_answered_by_columns(unconditional):
    z = np.random.default_rng(0).standard_normal((3, L)).astype("float32")
    expected = np.asarray(unconditional.vae.decode(z).mean())
    for body, key in (
        ({"instances": z.tolist()}, "predictions"),
        ({"instances": [{"z": row} for row in z.tolist()]}, "predictions"),
        ({"inputs": z.tolist()}, "outputs"),
        ({"signature_name": "decode", "inputs": {"z": z.tolist()}}, "outputs"),
    ):
        code, answer = unconditional.post("/v1/models/digits/versions/1:predict", json.dumps(body))
        assert code == 200 and set(answer) == {key}
        np.testing.assert_allclose(answer[key], expected, atol=1e-5)


def test_grpc_answers_and_refuses_with_its_own_codes(unconditional):
    z = np.random.default_rng(1).standard_normal((2, L)).astype("float32")

    def asked(name="digits", signature="decode", **inputs):
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = name, signature
        for key, array in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
        with grpc.insecure_channel(f"127.0.0.1:{unconditional.grpc}") as channel:
            try:
                return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, 30.0)
            except grpc.RpcError as error:
                return error.code().name

    answer = asked(z=z)
    np.testing.assert_allclose(tf.make_ndarray(answer.outputs["mean"]), unconditional.vae.decode(z).mean(), atol=1e-5)
    assert answer.model_spec.version.value == 1
    for code, call in {
        "NOT_FOUND": {"name": "other", "z": z},
        "FAILED_PRECONDITION": {"signature": "log_prob", "z": z},
    }.items():
        assert asked(**call) == code
    for wrong in ({"z": z[:, 1:]}, {"z": z[0]}, {"z": z.astype("float64")}, {"code": z}, {}, {"z": z, "x": z}):
        assert asked(**wrong) == "INVALID_ARGUMENT", wrong
