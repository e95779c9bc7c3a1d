"""`export.to_saved_model`: what TensorFlow Serving would load answers as Keras does, and nothing half-made is left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import export_models
import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import keras_vae as kv
from keras_vae import evaluation, export, files, likelihoods, networks, posteriors, priors
from keras_vae.export import publish, saved_model
from keras_vae.export.proof import fresh, warmup
from keras_vae.export.proof.fresh import Call
from keras_vae.export.proof.warmup import Record
from keras_vae.export.signatures import meanings, signatures

L, EVENT = export_models.LATENT, export_models.EVENT
SIGNATURES = {"serving_default", "decode", "sample", "encode", "reconstruct", "log_likelihood", "score"}


@pytest.fixture(scope="module")
def vae(digits):
    keras.utils.set_random_seed(0)
    return export_models.trained(digits, "dense")


@pytest.fixture(scope="module")
def conv(digits):
    keras.utils.set_random_seed(1)
    return export_models.trained(digits, "conv", "mixed_bfloat16", epochs=1)


@pytest.fixture(scope="module")
def base(vae, tmp_path_factory):
    base = tmp_path_factory.mktemp("serving") / "decoder"
    export.to_saved_model(vae, base)
    return base


@pytest.fixture(scope="module")
def conv_report(conv, tmp_path_factory):
    return export.to_saved_model(conv, tmp_path_factory.mktemp("serving") / "conv")


def z_of(rows, seed=5):
    return np.random.default_rng(seed).standard_normal((rows, L)).astype("float32")


def test_every_signature_answers_as_keras_does(vae, base, digits):
    z, x = z_of(9), digits[:9]
    calls = [
        Call("serving_default", {"z": z}),
        Call("decode", {"z": z}),
        Call("encode", {"x": x}),
        Call("reconstruct", {"x": x}),
        Call("log_likelihood", {"z": z, "x": x}),
        Call("score", {"x": x}),
        Call("sample", {"seed": np.arange(18, dtype="int32").reshape(9, 2)}),
    ]
    response = fresh.run(base / "1", calls)
    assert response.load == "OK" and set(response.signatures) == SIGNATURES
    served = [result.outputs for result in response.results]
    means = np.asarray(vae.decode(z).mean())
    np.testing.assert_allclose(served[0]["mean"], means, atol=1e-5)
    np.testing.assert_allclose(served[1]["mean"], means, atol=1e-5)
    q = vae.encode(x)
    np.testing.assert_allclose(served[2]["loc"], q.mean(), atol=1e-5)
    np.testing.assert_allclose(served[2]["scale"], q.stddev(), atol=1e-5)
    np.testing.assert_allclose(served[3]["mean"], vae.reconstruct(x), atol=1e-5)
    np.testing.assert_allclose(served[4]["log_likelihood"], vae.decode(z).log_prob(x), rtol=1e-5)
    np.testing.assert_allclose(served[5]["score"], evaluation.scores(vae, x), rtol=1e-5)
    np.testing.assert_allclose(served[6]["mean"], vae.decode(served[6]["z"]).mean(), atol=1e-5)


def test_signatures_have_named_inputs_and_outputs_with_a_free_first_dimension(base):
    found = fresh.run(base / "1", []).signatures
    image = ("float32", [None, *EVENT])
    assert found["decode"] == found["serving_default"] == ({"z": ("float32", [None, L])}, {"mean": image})
    assert found["sample"] == ({"seed": ("int32", [None, 2])}, {"mean": image, "z": ("float32", [None, L])})
    assert found["encode"] == ({"x": image}, {"loc": ("float32", [None, L]), "scale": ("float32", [None, L])})
    assert found["reconstruct"] == ({"x": image}, {"mean": image})
    assert found["log_likelihood"] == (
        {"x": image, "z": ("float32", [None, L])},
        {"log_likelihood": ("float32", [None])},
    )


def test_a_sample_depends_on_its_seed_alone_in_every_process_and_batch(base):
    seeds = np.random.default_rng(0).integers(-(2**31), 2**31, (200, 2)).astype("int32")
    seeds[7] = seeds[3]
    first = fresh.run(base / "1", [Call("sample", {"seed": seeds})]).results[0].outputs
    calls = [Call("sample", {"seed": rows}) for rows in (seeds, seeds[3:4], seeds[50:61][::-1])]
    again, alone, some = (result.outputs["z"] for result in fresh.run(base / "1", calls).results)
    np.testing.assert_array_equal(again, first["z"])
    np.testing.assert_array_equal(alone[0], first["z"][3])
    np.testing.assert_array_equal(some, first["z"][50:61][::-1])
    np.testing.assert_array_equal(first["z"][7], first["z"][3])
    assert len(np.unique(first["z"], axis=0)) == 199
    assert abs(first["z"].mean()) < 0.15 and abs(first["z"].std() - 1.0) < 0.1


def test_bad_requests_are_refused_and_harm_nobody(base, digits):
    z, x = z_of(6), digits[:6]
    refused = {
        "latent size": ("decode", {"z": z_of(6)[:, :-1]}),
        "larger latent size": ("decode", {"z": np.hstack([z, z])}),
        "rank 1": ("decode", {"z": z[0]}),
        "rank 3": ("decode", {"z": z[None]}),
        "integers": ("decode", {"z": z.astype("int32")}),
        "doubles": ("decode", {"z": z.astype("float64")}),
        "three seed numbers": ("sample", {"seed": np.zeros((6, 3), "int32")}),
        "one seed number": ("sample", {"seed": np.zeros((6, 1), "int32")}),
        "one seed for all": ("sample", {"seed": np.zeros(2, "int32")}),
        "float seeds": ("sample", {"seed": np.zeros((6, 2), "float32")}),
        "picture without channels": ("encode", {"x": x[..., 0]}),
        "picture of another size": ("reconstruct", {"x": x[:, :-1]}),
        "three channels": ("log_likelihood", {"z": z, "x": np.repeat(x, 3, axis=-1)}),
        "one z for all": ("log_likelihood", {"z": z[:1], "x": x}),
        "one x for all": ("log_likelihood", {"z": z, "x": x[:1]}),
        "missing input": ("log_likelihood", {"z": z}),
    }
    poisoned = z.copy()
    poisoned[2], poisoned[4] = np.nan, np.inf
    calls = [Call(*call) for call in refused.values()]
    results = fresh.run(base / "1", [*calls, Call("decode", {"z": z}), Call("decode", {"z": poisoned})]).results
    assert {name: result.status for name, result in zip(refused, results, strict=False)} == dict.fromkeys(
        refused, "INVALID_ARGUMENT"
    )
    clean, touched = (result.outputs["mean"] for result in results[-2:])
    np.testing.assert_array_equal(touched[[0, 1, 3, 5]], clean[[0, 1, 3, 5]])


@pytest.mark.parametrize("which", ["dense", pytest.param("conv", marks=pytest.mark.slow)])
def test_an_empty_batch_gives_an_empty_result(which, request):
    folder = request.getfixturevalue("base") / "1" if which == "dense" else request.getfixturevalue("conv_report").path
    z, x = np.zeros((0, L), "float32"), np.zeros((0, *EVENT), "float32")
    inputs = {"decode": {"z": z}, "encode": {"x": x}, "reconstruct": {"x": x}, "log_likelihood": {"z": z, "x": x}}
    inputs["sample"] = {"seed": np.zeros((0, 2), "int32")}
    results = fresh.run(folder, [Call(name, arrays) for name, arrays in inputs.items()]).results
    for name, result in zip(inputs, results, strict=True):
        assert result.ok, f"{name}: {result.message}"
        assert all(array.shape[0] == 0 for array in result.outputs.values())
    assert results[0].outputs["mean"].shape == (0, *EVENT)


@pytest.mark.slow
def test_a_model_trained_in_16_bits_is_exported_in_float32_and_the_difference_reported(conv, conv_report):
    assert conv_report.ok and conv_report.facts["trained_in"] == ["mixed_bfloat16"]
    z = z_of(64)
    served = fresh.run(conv_report.path, [Call("decode", {"z": z})]).results[0].outputs["mean"]
    difference = np.abs(served - np.asarray(conv.decode(z).mean())).max()
    assert 0.0 < difference < 0.02
    assert 0.0 < conv_report.facts["difference_of_float32_rebuild"] < 0.02
    assert max(conv_report.errors["decode"].values()) < 1e-5
    assert any("bfloat16" in note for note in conv_report.notes)
    assert conv.dtype_policy.name == "mixed_bfloat16"  # the model itself is untouched


def test_it_loads_in_python_and_as_a_keras_layer(vae, base):
    z = z_of(3)
    expected = np.asarray(vae.decode(z).mean())
    loaded = tf.saved_model.load(str(base / "1"))
    np.testing.assert_allclose(loaded.signatures["decode"](z=tf.constant(z))["mean"], expected, atol=1e-5)
    layer = keras.layers.TFSMLayer(str(base / "1"), call_endpoint="decode")
    np.testing.assert_allclose(layer(tf.constant(z))["mean"], expected, atol=1e-5)


def contents(folder):
    return {file.relative_to(folder): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.slow
def test_two_exports_of_one_model_are_the_same_bytes(vae, base, tmp_path):
    vae.save(tmp_path / "vae.keras")
    export_models.make("conv")  # takes names and numbers in between
    report = export.to_saved_model(tmp_path / "vae.keras", tmp_path / "decoder", version=12)
    first, second = contents(base / "1"), contents(report.path)
    first_record, second_record = (json.loads(files.pop(Path("export.json"))) for files in (first, second))
    assert first == second
    for record in (first_record, second_record):
        for name in ("created", "version", "milliseconds_per_row"):
            record.pop(name)
    assert first_record == second_record


def test_export_json_lists_every_file_and_every_measurement(base):
    record = json.loads((base / "1" / "export.json").read_text())
    files = {str(name) for name in contents(base / "1")} - {"export.json"}
    assert set(record["files"]) == files
    assert all(entry["bytes"] == (base / "1" / name).stat().st_size for name, entry in record["files"].items())
    assert set(record["errors"]) == SIGNATURES
    assert all(0.0 <= error <= 1e-5 for errors in record["errors"].values() for error in errors.values())
    assert {"batch 1, max", "batch 64, max", "warm-up"} <= set(record["errors"]["log_likelihood"])
    assert (record["latent_dim"], record["event_shape"], record["likelihood"]) == (L, list(EVENT), "Bernoulli")
    assert record["checks"] and all(check["passed"] for check in record["checks"])


@pytest.mark.slow
def test_a_changed_file_is_noticed(base, tmp_path):
    import shutil

    shutil.copytree(base / "1", tmp_path / "1")
    assert export.verify(tmp_path).ok
    data = tmp_path / "1" / "variables" / "variables.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[len(content) // 2 + 3] ^= 0x10
    data.write_bytes(content)
    with pytest.raises(export.VerificationError, match="changed since the export"):
        export.verify(tmp_path)


def prediction_log():
    """The class of tensorflow.serving.PredictionLog, from the published .proto files: tensorflow-serving-api has it."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="serving.proto", package="serving", syntax="proto3")
    file.dependency.append("tensorflow/core/framework/tensor.proto")

    def message(name, *fields, within=file):
        added = (within.message_type if within is file else within.nested_type).add(name=name)
        for number, field_name, kind, repeated in fields:
            label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            is_string = kind == "string"
            added.field.add(
                name=field_name,
                number=number,
                label=label,
                type=field.TYPE_STRING if is_string else field.TYPE_MESSAGE,
                type_name=None if is_string else kind,
            )
        return added

    tensor = ".tensorflow.TensorProto"
    message("ModelSpec", (1, "name", "string", False), (3, "signature_name", "string", False))
    for name, number, extra in (
        ("PredictRequest", 2, [(1, "model_spec", ".serving.ModelSpec", False)]),
        ("PredictResponse", 1, []),
    ):
        outer = message(name, *extra, (number, "tensors", f".serving.{name}.TensorsEntry", True))
        entry = message("TensorsEntry", (1, "key", "string", False), (2, "value", tensor, False), within=outer)
        entry.options.map_entry = True
    message(
        "PredictLog",
        (1, "request", ".serving.PredictRequest", False),
        (2, "response", ".serving.PredictResponse", False),
    )
    message("PredictionLog", (6, "predict_log", ".serving.PredictLog", False))
    from tensorflow.core.framework import tensor_pb2  # noqa: F401 - registers tensor.proto

    pool = descriptor_pool.Default()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("serving.PredictionLog"))


def test_the_warm_up_file_is_one_that_tensorflow_serving_can_read(base, vae):
    cls = prediction_log()
    file = base / "1" / "assets.extra" / "tf_serving_warmup_requests"
    records = [cls.FromString(record.numpy()).predict_log for record in tf.data.TFRecordDataset(str(file))]
    assert {record.request.model_spec.signature_name for record in records} == SIGNATURES
    assert {record.request.model_spec.name for record in records} == {"decoder"}
    assert len(records) == 2 * len(SIGNATURES)
    for record in records:
        if record.request.model_spec.signature_name == "decode":
            z = tf.make_ndarray(record.request.tensors["z"])
            answer = tf.make_ndarray(record.response.tensors["mean"])
            np.testing.assert_allclose(answer, vae.decode(z).mean(), atol=1e-5)


@pytest.mark.slow
def test_a_warm_up_request_that_fails_is_found(base, tmp_path):
    import shutil

    folder = tmp_path / "1"
    shutil.copytree(base / "1", folder)
    (folder / "export.json").unlink()
    bad = Record("decoder", "decode", {"z": np.zeros((1, L + 1), "float32")}, {"mean": np.zeros((1, *EVENT))})
    warmup.write(folder, [*warmup.read(folder), bad])
    with pytest.raises(export.VerificationError, match=r"warm-up.*INVALID_ARGUMENT"):
        export.verify(folder)
    (folder / warmup.FILE).write_bytes((folder / warmup.FILE).read_bytes()[:-7])
    with pytest.raises(export.VerificationError, match=r"warm-up.*damaged"):
        export.verify(folder)


def test_the_texts_name_the_real_model_and_sizes(base):
    """The requests of the guide: test_serving.py."""
    assert 'name: "decoder"' in (base / "models.config").read_text()
    assert "max_batch_size { value: 64 }" in (base / "batching.config").read_text()
    guide = (base / "SERVING.md").read_text()
    assert '-v "$PWD:/models/decoder"' in guide and f"z has {L} numbers" in guide
    for row in (
        f"| `z` | float32 [{L}] | a point of the latent space, {L} real numbers; of drawn ones 98 in 100 lie from -2.",
        "| `x` | float32 [8, 8, 1] | an example: from 0 to 1, either end |",
        f"| `scale` | float32 [{L}] | the standard deviations of q(z given x), above 0",
        "| `log_likelihood` | float32 | log p(x given z) in nats, summed over all values of x, at most 0",
    ):
        assert row in guide


@pytest.mark.parametrize(
    ("posterior", "words"),
    [
        (posteriors.MultivariateNormalDiag, "the standard deviations of q"),
        (posteriors.MultivariateNormalTriL, "S S^T is the covariance of q"),
    ],
)
def test_the_guide_says_what_a_scale_is(posterior, words):
    vae = export_models.make(posterior=posterior(L))
    assert words in meanings(vae)["scale"]
    q = vae.encode(np.zeros((1, *EVENT), "float32"))
    scale = signatures(vae)["encode"].function(x=tf.zeros([1, *EVENT]))["scale"].numpy()[0]
    np.testing.assert_allclose(scale @ scale.T if scale.ndim == 2 else np.diag(scale**2), q.covariance()[0], rtol=1e-5)


@pytest.mark.slow
def test_an_export_of_before_says_how_its_likelihood_is_called_now(vae, tmp_path, monkeypatch):
    def of_before(model):
        table = signatures(model)
        return {"log_prob" if name == "log_likelihood" else name: entry for name, entry in table.items()}

    monkeypatch.setattr(saved_model, "signatures", of_before)
    monkeypatch.setattr(saved_model, "_guide", lambda *_: saved_model.serving.Guide(L, EVENT, {}, {}, {}, {}, {}))
    monkeypatch.setattr(saved_model.serving, "texts", lambda *_: {})
    export.to_saved_model(vae, tmp_path / "decoder")
    report = export.verify(tmp_path / "decoder")
    assert report.ok and any("is called `log_likelihood` now" in note for note in report.notes)


# What is refused, before or after anything was written.


def left_behind(folder):
    return [path.name for path in folder.rglob("*")]


def test_an_existing_version_is_never_overwritten(vae, base):
    before = contents(base)
    with pytest.raises(export.ExportError, match=r"exists.*leave out the version") as caught:
        export.to_saved_model(vae, base, version=1)
    assert isinstance(caught.value, FileExistsError)
    assert contents(base) == before


def test_the_next_version_is_the_highest_plus_one(tmp_path):
    assert publish.check_version(tmp_path / "new", None) == 1
    for name in ("3", "12", "notes", ".writing-40"):
        (tmp_path / name).mkdir()
    assert publish.check_version(tmp_path, None) == 13
    assert publish.check_version(tmp_path, 5) == 5


@pytest.mark.parametrize("version", [0, -1, 1.5, 2.0, "2", "latest", True, 2**63, 10**20, np.uint64(2**63), [1]])
def test_versions_are_those_that_tensorflow_serving_reads(version, vae, tmp_path):
    with pytest.raises(export.ExportError, match=r"must be an int from 1 to 9223372036854775807, not"):
        export.to_saved_model(vae, tmp_path / "decoder", version=version)
    assert not left_behind(tmp_path)


def test_names_of_folders_are_read_as_tensorflow_serving_reads_them(tmp_path):
    for name in ("007", "+8", "100000000000000000000", "9223372036854775808", "-3", "1.5", "٣", "0x10"):
        (tmp_path / name).mkdir()
    assert {number: path.name for number, path in publish.versions(tmp_path).items()} == {7: "007", 8: "+8"}
    assert publish.check_version(tmp_path, None) == 9
    with pytest.raises(export.ExportError, match="007 exists, and a served version is never overwritten"):
        publish.check_version(tmp_path, 7)
    assert publish.check_version(tmp_path, 2**63 - 1) == 2**63 - 1
    assert type(publish.check_version(tmp_path, np.int64(5))) is int
    (tmp_path / str(2**63 - 1)).mkdir()
    with pytest.raises(export.ExportError, match="the highest that TensorFlow Serving can read"):
        publish.check_version(tmp_path, None)


def test_a_version_that_tensorflow_serving_cannot_read_fails_its_check(base, tmp_path):
    (tmp_path / str(2**63)).symlink_to(base / "1")
    with pytest.raises(export.VerificationError, match=r"version: TensorFlow Serving reads no version above"):
        export.verify(tmp_path / str(2**63))
    (tmp_path / "007").symlink_to(base / "1")
    assert export.verify(tmp_path).path == tmp_path / "007"


def test_a_file_in_the_way_is_refused(vae, tmp_path):
    (tmp_path / "decoder").write_text("mine")
    for path in (tmp_path / "decoder", tmp_path / "decoder" / "below"):
        with pytest.raises(export.ExportError, match="is a file"):
            export.to_saved_model(vae, path)
    assert (tmp_path / "decoder").read_text() == "mine"


def test_an_unbuilt_model_is_refused(tmp_path):
    vae = kv.VAE(
        kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(L)),
        kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli(EVENT)),
        priors.StandardNormal(L),
    )
    with pytest.raises(export.ExportError, match=r"never built.*train it"):
        export.to_saved_model(vae, tmp_path / "a" / "decoder")
    with pytest.raises(export.ExportError, match="never built"):
        export.to_tflite(vae, tmp_path / "a" / "decoder.tflite")
    assert not left_behind(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_is_not_finite_is_refused(value, tmp_path):
    vae = export_models.make()
    weight = vae.decoder.weights[0]
    weight.assign(np.where(np.arange(weight.shape[1]) == 3, value, weight.numpy()))
    with pytest.raises(export.ExportError, match=r"NaN or infinity.*diverged"):
        export.to_saved_model(vae, tmp_path / "decoder")
    assert not left_behind(tmp_path)


def test_what_is_no_model_is_refused(tmp_path):
    keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    (tmp_path / "broken.keras").write_text("not a zip")
    (tmp_path / "run").mkdir()
    for source, message in {
        tmp_path / "nowhere": "does not exist",
        tmp_path / "run": "holds no vae.keras",
        tmp_path / "other.keras": "not a keras_vae.VAE",
        tmp_path / "broken.keras": "cannot be loaded",
        7: "expected a keras_vae.VAE",
    }.items():
        with pytest.raises(export.ExportError, match=message):
            export.to_saved_model(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_that_no_url_can_have_is_refused(vae, tmp_path):
    with pytest.raises(export.ExportError, match="name="):
        export.to_saved_model(vae, tmp_path / "my decoder")


@pytest.mark.slow
def test_a_failed_check_leaves_nothing_behind(vae, tmp_path, monkeypatch):
    write = saved_model.write_functions

    def forget_the_variables(model, functions, folder):
        import shutil

        write(model, functions, folder)
        shutil.rmtree(folder / "variables")

    monkeypatch.setattr(saved_model, "write_functions", forget_the_variables)
    with pytest.raises(export.VerificationError, match="holds no checkpoint"):
        export.to_saved_model(vae, tmp_path / "new" / "decoder")
    assert not left_behind(tmp_path)


KILLED = """
import sys
from keras_vae import export
print("ready", flush=True)
export.to_saved_model(sys.argv[1], sys.argv[2])
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["", "saved_model.pb", "assets.extra/tf_serving_warmup_requests"])
def test_a_killed_export_leaves_no_version_and_the_next_one_cleans_up(moment, vae, tmp_path):
    vae.save(tmp_path / "vae.keras")
    served = tmp_path / "decoder"
    root = str(Path(kv.__file__).parent.parent)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "vae.keras"), str(served)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root}, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not any(served.glob(f".writing-*-1/{moment}")):
            assert process.poll() is None and time.monotonic() < deadline, "the export ended before it could be killed"
            time.sleep(0.001)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert {path.name.rpartition("-")[2] for path in served.iterdir()} - {files.LOCK} == {"1"}
    report = export.to_saved_model(vae, served)
    assert report.path == served / "1"
    assert {path.name for path in served.iterdir()} == {"1", "models.config", "batching.config", "SERVING.md"}


def test_two_exports_at_once_do_not_disturb_each_other(vae, tmp_path):
    base = tmp_path / "decoder"
    with publish.staged_version(base, 1) as folder:
        (folder / "saved_model.pb").write_text("in the making")
        with pytest.raises(export.ExportError, match="another process"):
            export.to_saved_model(vae, base)
        assert (folder / "saved_model.pb").exists()
    assert list(publish.versions(base)) == [1]


def test_what_stands_beside_the_versions_is_written_while_the_folder_is_locked(tmp_path, monkeypatch):
    written, write = [], files.write_text

    def while_locked(path, text):
        with pytest.raises(files.Busy), files.locked(tmp_path):
            pass
        written.append((path.name, (tmp_path / "1").is_dir()))
        write(path, text)

    monkeypatch.setattr(files, "write_text", while_locked)
    texts = {}
    with publish.staged_version(tmp_path, 1, texts):
        texts["SERVING.md"] = "text"
    assert written == [("SERVING.md", True)] and (tmp_path / "SERVING.md").read_text() == "text"
