"""`export.verify` of files by people who mean harm: what they planted is named, and was not run."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import export_attacks
import export_faults
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from keras_vae import export
from keras_vae.export import metadata
from keras_vae.export.proof import child, fresh, permitted, warmup
from keras_vae.export.proof.fresh import Call, FreshProcessError, Limits
from keras_vae.export.proof.report import check_recorded
from keras_vae.export.reproducible import read_saved_model

OPERATIONS = ("WriteFile", "PrintV2", "ReadFile", "MatchingFiles", "SaveV2", "RestoreV2")
PLACES = ("in_the_signature", "in_a_call", "in_a_branch", "in_a_loop")
Z = np.zeros((1, export_attacks.LATENT), "float32")


def failed(path, **limits):
    """The checks that fail, by name."""
    with pytest.raises(export.VerificationError) as caught:
        export.verify(path, **limits)
    return {check.name: check.detail for check in caught.value.report.checks if not check.passed}


@pytest.fixture
def never_run(monkeypatch):
    """No process may be started."""
    monkeypatch.setattr(fresh, "_ended", lambda *_: pytest.fail("a process was started"))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_touches_files_is_named_and_not_run(operation, place, tmp_path, never_run):
    target = tmp_path / "target"
    if operation == "RestoreV2":
        tf.train.Checkpoint(a=tf.Variable([1.0])).write(str(target))
    before = sorted(tmp_path.iterdir())
    act = lambda: export_attacks.harmful(operation, target)  # noqa: E731
    export_attacks.save(tmp_path / "1", lambda z: getattr(export_attacks, place)(act))
    found = failed(tmp_path / "1")["harmless operations"]
    assert operation in found and " in the function " in found
    assert sorted(path for path in tmp_path.iterdir() if path.name != "1") == before


def test_a_function_by_the_name_of_an_operation_hides_nothing(tmp_path, never_run):
    def change(graph):
        graph.graph_def.library.function.add().signature.name = "WriteFile"
        export_attacks.on_loading(graph, tmp_path / "written")

    export_attacks.save(tmp_path / "1", lambda z: 0.0)
    export_attacks.edited(tmp_path / "1", change)
    assert "a function WriteFile with the name of an operation" in failed(tmp_path / "1")["harmless operations"]


@pytest.mark.parametrize("place", ["on_loading", "in_an_unused_function"])
def test_what_nobody_asks_for_is_named_too(place, tmp_path, never_run):
    export_attacks.save(tmp_path / "1", lambda z: 0.0)
    export_attacks.edited(tmp_path / "1", lambda graph: getattr(export_attacks, place)(graph, tmp_path / "written"))
    where = {"on_loading": "WriteFile (act)", "in_an_unused_function": "act in the function __inference_unused_1"}
    assert where[place] in failed(tmp_path / "1")["harmless operations"]


@pytest.mark.slow
@pytest.mark.parametrize("place", [*PLACES, "on_loading"])
def test_these_attacks_would_work(place, tmp_path):
    """Without the look at them they write the file: the tests above are about something."""
    target = tmp_path / "written"
    if place == "on_loading":
        export_attacks.save(tmp_path / "1", lambda z: 0.0)
        export_attacks.edited(tmp_path / "1", lambda graph: export_attacks.on_loading(graph, target))
    else:
        act = lambda: export_attacks.harmful("WriteFile", target)  # noqa: E731
        export_attacks.save(tmp_path / "1", lambda z: getattr(export_attacks, place)(act))
    fresh.run(tmp_path / "1", [Call("serving_default", {"z": Z})])
    assert target.read_text() == "written"


def constant_name(graph, tmp_path):
    """Restores from a file of its own choice."""
    restore = export_attacks.function(graph, "traced_restore")
    export_attacks.constant(restore.node_def, "elsewhere", tmp_path / "other")
    export_attacks.node(restore.node_def, "RestoreV2").input[0] = "elsewhere:output:0"


def joined_name(graph, tmp_path):
    """Restores from a file beside the one that the loader names."""
    restore = export_attacks.function(graph, "traced_restore")
    export_attacks.constant(restore.node_def, "rest", "/../../other")
    joined = restore.node_def.add(name="joined", op="StringJoin", input=["file_prefix", "rest:output:0"])
    joined.attr["N"].i = 2
    export_attacks.node(restore.node_def, "RestoreV2").input[0] = "joined:output:0"


def hidden_name(graph, tmp_path):
    """Saves beside the name that the loader gives; the text is in a form that is looked at less often."""
    save = export_attacks.function(graph, "traced_save")
    for node in save.node_def:
        if node.op == "Const" and node.attr["value"].tensor.string_val == [b"_temp/part"]:
            node.attr["value"].tensor.ClearField("string_val")
            node.attr["value"].tensor.tensor_content = b"\x0e/../../../part"


def filled_in_by_itself(graph, tmp_path):
    """The name that the loader fills in has a value of its own when it does not."""
    nodes = graph.graph_def.node
    export_attacks.constant(nodes, "elsewhere", tmp_path / "other")
    name = next(node for node in nodes if node.name == graph.saver_def.filename_tensor_name.partition(":")[0])
    name.op = "PlaceholderWithDefault"
    name.input.append("elsewhere")


def saves_on_loading(graph, tmp_path):
    """What restores is what saves."""
    graph.saver_def.restore_op_name = graph.saver_def.save_tensor_name.partition(":")[0]


def saves_in_a_signature(graph, tmp_path):
    output = graph.signature_def["serving_default"].outputs["mean"]
    output.name = graph.saver_def.save_tensor_name


def unknown_operation(graph, tmp_path):
    graph.graph_def.node.add(name="new", op="SomethingNew")


def unknown_function(graph, tmp_path):
    call = graph.graph_def.node.add(name="call", op="PartitionedCall")
    call.attr["f"].func.name = "WriteFile"


def same_name(graph, tmp_path):
    graph.graph_def.node.add().CopyFrom(graph.graph_def.node[0])


FOUND = {
    constant_name: "RestoreV2",
    joined_name: "RestoreV2",
    hidden_name: "SaveV2",
    filled_in_by_itself: "RestoreV2",
    saves_on_loading: "SaveV2",
    saves_in_a_signature: "SaveV2",
    unknown_operation: "SomethingNew",
    unknown_function: "a function WriteFile that the file does not have",
    same_name: "two nodes",
}


@pytest.mark.parametrize("change", FOUND, ids=lambda change: change.__name__)
def test_what_saves_and_restores_touches_the_models_own_weights_only(change, tmp_path, never_run):
    export_attacks.save(tmp_path / "1", lambda z: 0.0)
    assert not permitted.refused(read_saved_model(tmp_path / "1"))
    export_attacks.edited(tmp_path / "1", lambda graph: change(graph, tmp_path))
    assert FOUND[change] in failed(tmp_path / "1")["harmless operations"]


def test_all_graphs_of_a_file_are_looked_at(tmp_path, never_run):
    export_attacks.save(tmp_path / "1", lambda z: 0.0)
    model = read_saved_model(tmp_path / "1")
    other = model.meta_graphs.add()
    other.meta_info_def.tags.append("other")
    export_attacks.in_an_unused_function(other, tmp_path / "written")
    (tmp_path / "1" / "saved_model.pb").write_bytes(model.SerializeToString())
    assert "WriteFile" in failed(tmp_path / "1")["harmless operations"]


def test_models_of_version_1_and_with_tables_may_be_run(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        z = tf.compat.v1.placeholder(tf.float32, [None, 3], "z")
        weight = tf.compat.v1.get_variable("weight", [3], use_resource=True)
        session.run(weight.initializer)
        info = tf.compat.v1.saved_model.utils.build_tensor_info
        signature = tf.compat.v1.saved_model.build_signature_def({"z": info(z)}, {"mean": info(z * weight)})
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "1"))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    assert "RestoreV2" in {node.op for node in read_saved_model(tmp_path / "1").meta_graphs[0].graph_def.node}

    keys, values = tf.range(3, dtype=tf.int64), tf.range(3.0)
    root, spec = tf.Module(), tf.TensorSpec([None], tf.int64, "z")
    root.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), -1.0)
    look_up = tf.function(lambda z: {"mean": root.table.lookup(z)}, input_signature=[spec])
    tf.saved_model.save(root, str(tmp_path / "2"), signatures={"serving_default": look_up.get_concrete_function()})
    for version in "12":
        assert not permitted.refused(read_saved_model(tmp_path / version))
    result = fresh.run(tmp_path / "2", [Call("serving_default", {"z": np.array([2, 7])})]).results[0]
    np.testing.assert_array_equal(result.outputs["mean"], [2.0, -1.0])


def test_the_list_has_operations_of_tensorflow_and_none_that_touch_anything():
    assert all(hasattr(tf.raw_ops, name) or name in ("Variable", "_EagerConst") for name in permitted.OPERATIONS)
    words = ("File", "Py", "Print", "Dataset", "Iterator", "Reader", "Save", "Restore", "Summary", "Debug", "Xla")
    words += ("Remote", "Collective", "Decode", "Abort", "Immutable", "TPU", "Merge", "Vocab", "Send", "Recv")
    allowed = {"CTCGreedyDecoder", "ShardedFilename", "Merge", "DecodeRaw", "UnicodeDecode", "UnicodeDecodeWithOffsets"}
    assert {name for name in permitted.OPERATIONS if any(word in name for word in words)} == allowed


def test_other_forms_of_a_model_and_special_files_are_refused(tmp_path, never_run):
    export_attacks.save(tmp_path / "1", lambda z: 0.0)
    for name in ("saved_model.cpb", "saved_model.pbtxt"):
        (tmp_path / "1" / name).write_text("")
        assert name in failed(tmp_path / "1")["file"]
        (tmp_path / "1" / name).unlink()
    for place in ("variables/variables.data-00001-of-00002", "assets/pipe"):
        os.mkfifo(tmp_path / "1" / place)
        assert Path(place).name in failed(tmp_path / "1")["file"]
        (tmp_path / "1" / place).unlink()
    os.mkfifo(tmp_path / "pipe.tflite")
    with pytest.raises(export.ExportError, match="neither a folder nor a regular file"):
        export.verify(tmp_path / "pipe.tflite")


# What it may take.


def large(z):
    """1.6 GB in one tensor, made of a number that is not known before."""
    side = tf.cast(z[0, 0] * 0.0, tf.int32) + 20_000
    return tf.reduce_sum(tf.sin(tf.fill([side, side], z[0, 0]))) * 1e-30


def growing(z):
    """Twice as large in each step of a loop."""
    twice = tf.while_loop(
        lambda x: tf.size(x) < 400_000_000, lambda x: (tf.concat([x, x], 0),), [z[0]], [tf.TensorShape([None])]
    )
    return twice[0][0] * 1e-30


def constant(z):
    """1.6 GB in a constant that the file has as one number."""
    return tf.reduce_sum(tf.fill([20_000, 20_000], 1.0)) * 1e-30


@pytest.mark.parametrize("extra", [large, pytest.param(growing, marks=pytest.mark.slow), constant])
def test_a_small_file_that_takes_much_memory_is_stopped(extra, tmp_path):
    export_attacks.save(tmp_path / "1", extra)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) < 20_000
    assert "more than the 1.3 GB of memory" in failed(tmp_path / "1")["memory"]


def test_a_small_file_for_devices_that_takes_much_memory_is_stopped(tmp_path):
    export_faults.save(tmp_path / "1", lambda z: {"mean": z + large(z)})
    export_faults.tflite(tmp_path / "1", tmp_path / "a.tflite")
    assert (tmp_path / "a.tflite").stat().st_size < 10_000
    assert "FILL" in metadata.operators((tmp_path / "a.tflite").read_bytes())
    assert "more than the 1.3 GB of memory" in failed(tmp_path / "a.tflite")["memory"]


def endless(z):
    return tf.while_loop(lambda x: x < 2.0, lambda x: (tf.minimum(x, 1.0),), [z[0, 0] * 0.0])[0]


def test_a_file_that_never_ends_is_stopped(tmp_path):
    export_attacks.save(tmp_path / "1", endless)
    start = time.monotonic()
    assert "did not answer within 2 s" in failed(tmp_path / "1", seconds=2)["time"]
    assert time.monotonic() - start < 30


def test_limits_are_positive_numbers(tmp_path):
    export_attacks.save(tmp_path / "1", lambda z: 0.0)
    for limits in ({"memory": 0}, {"memory": 1.5}, {"seconds": 0}, {"seconds": float("nan")}, {"memory": True}):
        with pytest.raises(export.ExportError, match=f"{next(iter(limits))}.* must be"):
            export.verify(tmp_path / "1", **limits)


def test_inputs_that_cannot_be_tried_are_named_before_anything_is_made(tmp_path, never_run):
    export_attacks.save(tmp_path / "1", lambda z: 0.0)

    def wide(graph):
        graph.signature_def["serving_default"].inputs["z"].tensor_shape.dim[1].size = 10**12

    def text(graph):
        graph.signature_def["serving_default"].inputs["z"].dtype = tf.string.as_datatype_enum

    for change, message in ((wide, "values, more than are tried"), (text, "of the type 7, which is not tried")):
        export_attacks.edited(tmp_path / "1", change)
        assert message in failed(tmp_path / "1")["signatures"]


PROGRAM = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("child", sys.argv[1])
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
child.confine(200_000_000, 60)
print(sorted(os.environ), os.getcwd(), os.listdir(), file=sys.stderr)
try:
    bytearray(300_000_000)
except MemoryError:
    print("no memory", file=sys.stderr)
try:
    with open("large", "wb") as file:
        for _ in range(300):
            file.write(bytes(1_000_000))
except OSError as error:
    print(os.path.getsize("large"), error, file=sys.stderr)
"""


def test_the_process_is_told_no_secrets_and_confined(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    code, said = fresh._ended([sys.executable, "-c", PROGRAM, child.__file__], tmp_path, Limits())
    assert code == 0 and "AWS" not in said and "TOKEN" not in said
    assert f"{tmp_path / 'work'} []" in said and "no memory" in said and "200000000 [Errno 27]" in said


def test_what_a_process_has_started_ends_with_it(tmp_path):
    program = "import subprocess, sys, time; subprocess.Popen(['sleep', '300']); time.sleep(300)"
    code, _ = fresh._ended([sys.executable, "-c", program], tmp_path, Limits(seconds=2))
    assert code is None
    with contextlib.suppress(FileNotFoundError):
        found = subprocess.run(["pgrep", "-f", "^sleep 300$"], capture_output=True, text=True, check=False).stdout
        assert not found.split()


# What lies beside a model.


def test_records_of_strangers_are_read_with_care(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    export_attacks.save(tmp_path / "1", lambda z: 0.0)
    record = tmp_path / "1" / "export.json"
    for content in (
        '{"files": {"../secret": {"sha256": "0"}}}',
        f'{{"files": {{"{secret}": {{"sha256": "0"}}}}}}',
        '{"files": {"saved_model.pb": 7}}',
        '{"files": ["saved_model.pb"]}',
        "[]",
        "{" + '"a": {' * 100_000,
    ):
        record.write_text(content)
        (check,) = check_recorded(tmp_path / "1", "files")
        assert not check.passed, content[:50]


def test_warm_up_requests_of_strangers_are_read_with_care(tmp_path):
    export_attacks.save(tmp_path / "1", lambda z: 0.0)
    file = tmp_path / "1" / warmup.FILE
    file.parent.mkdir()

    def request(tensor):
        log = warmup.PREDICTION_LOG()
        log.predict_log.request.inputs["z"].CopyFrom(tensor)
        return log.SerializeToString()

    repeated = tf.make_tensor_proto(1.0, shape=[1])
    repeated.tensor_shape.dim[0].size = 200_000_000
    for tensor, message in ((repeated, "does not write them out"), (tf.make_tensor_proto("text"), "holds no numbers")):
        with tf.io.TFRecordWriter(str(file)) as writer:
            writer.write(request(tensor))
        with pytest.raises(ValueError, match=message):
            warmup.read(tmp_path / "1")
    file.write_bytes((2**40).to_bytes(8, "little") + bytes(8))
    with pytest.raises(ValueError, match="longer than the file"):
        warmup.read(tmp_path / "1")


def test_a_checkpoint_that_declares_more_than_it_holds_is_not_read(tmp_path, never_run):
    weight = tf.Variable(tf.zeros(1000))
    export_faults.save(tmp_path / "1", lambda z: {"mean": z + weight[0]}, [weight])
    data = tmp_path / "1" / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    found = failed_statically(tmp_path / "1")
    assert "declares" in found["weights"]


def failed_statically(path):
    from keras_vae.export.proof.graph_checks import check_graph

    return {check.name: check.detail for check in check_graph(path, read_saved_model(path)) if not check.passed}


# Files for devices.


def rewritten(file, change):
    """Changes a TFLite model in place."""
    import flatbuffers

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file.read_bytes(), 0))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    file.write_bytes(bytes(builder.Output()))


@pytest.fixture(scope="module")
def device_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("device")
    export_attacks.save(folder / "1", lambda z: 0.0)
    export_faults.tflite(folder / "1", folder / "a.tflite")
    return folder / "a.tflite"


def custom(model):
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"FlexWriteFile"
    model.operatorCodes.append(code)
    model.subgraphs[0].operators[0].opcodeIndex = len(model.operatorCodes) - 1


def delegate(model):
    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.DELEGATE
    model.operatorCodes.append(code)
    model.subgraphs[0].operators[0].opcodeIndex = len(model.operatorCodes) - 1


def unknown(model):
    code = schema.OperatorCodeT()
    code.builtinCode = 999
    model.operatorCodes.append(code)
    model.subgraphs[0].operators[0].opcodeIndex = len(model.operatorCodes) - 1


def elsewhere(model):
    group = schema.ExternalBufferGroupT()
    group.name = b"/etc/passwd"
    model.externalBufferGroups = [group]


@pytest.mark.parametrize(
    ("change", "named"),
    [(custom, "FlexWriteFile"), (delegate, "DELEGATE"), (unknown, "999"), (elsewhere, "weights in other files")],
)
def test_what_a_device_file_does_not_compute_itself_is_named_and_not_run(
    change, named, device_file, tmp_path, never_run
):
    file = tmp_path / "a.tflite"
    file.write_bytes(device_file.read_bytes())
    rewritten(file, change)
    assert named in failed(file)["harmless operations"]


@pytest.mark.parametrize("facts", ["[]", "null", '{"quantization": []}', '{"num_weights": "many"}', "[" * 100_000])
def test_metadata_of_strangers_are_read_with_care(facts, device_file, tmp_path, never_run):
    file = tmp_path / "a.tflite"
    content = metadata.write(device_file.read_bytes(), {"placeholder": 0})
    file.write_bytes(content)

    def change(model):
        entry = next(entry for entry in model.metadata if entry.name == metadata.NAME)
        model.buffers[entry.buffer].data = list(facts.encode())

    rewritten(file, change)
    assert "is no TFLite model" in failed(file)["file"]


def test_a_process_that_runs_out_of_time_says_so(tmp_path):
    export_attacks.save(tmp_path / "1", lambda z: 0.0)
    with pytest.raises(FreshProcessError, match="did not answer within 0 s"):
        fresh.run(tmp_path / "1", [], Limits(seconds=0.01))
