"""Exports by people who mean harm: each is small, loads, and does something when it is looked at carelessly."""

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

LATENT = 3


def harmful(name, path):
    """What a signature may do besides computing: runs the operation on a path, and gives a number."""
    text = tf.constant(str(path))
    none = tf.constant([""])
    if name == "WriteFile":
        tf.io.write_file(text, "written")
    elif name == "PrintV2":
        tf.print("written", output_stream=f"file://{path}")
    elif name == "SaveV2":
        tf.raw_ops.SaveV2(prefix=text, tensor_names=tf.constant(["a"]), shape_and_slices=none, tensors=[tf.zeros(1)])
    elif name == "ReadFile":
        return tf.cast(tf.strings.length(tf.io.read_file(text)), tf.float32)
    elif name == "MatchingFiles":
        return tf.cast(tf.size(tf.io.matching_files(text)), tf.float32)
    elif name == "RestoreV2":
        names = tf.constant(["a/.ATTRIBUTES/VARIABLE_VALUE"])
        restored = tf.raw_ops.RestoreV2(prefix=text, tensor_names=names, shape_and_slices=none, dtypes=[tf.float32])
        return tf.reshape(restored[0], [])
    return tf.constant(0.0)


def in_the_signature(act):
    return act()


def in_a_call(act):
    return tf.function(tf.function(act))()


def in_a_branch(act):
    return tf.cond(tf.random.uniform([]) < 2.0, act, lambda: tf.constant(0.0))


def in_a_loop(act):
    return tf.while_loop(lambda i, _: i < 1, lambda i, _: (i + 1, act()), [tf.constant(0), tf.constant(0.0)])[1]


def save(directory, extra):
    """A SavedModel of z + 1, whose signature also computes something else."""

    def decode(z):
        return {"mean": tf.ensure_shape(z, [None, LATENT]) + 1.0 + 0.0 * extra(z)}

    root, spec = tf.Module(), tf.TensorSpec([None, LATENT], tf.float32, "z")
    root.weight = tf.Variable(tf.zeros(LATENT))
    traced = tf.function(decode, input_signature=[spec]).get_concrete_function()
    tf.saved_model.save(root, str(directory), signatures={"serving_default": traced})


def edited(directory, change):
    """Changes the first graph of a SavedModel in place."""
    file = directory / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    change(model.meta_graphs[0])
    file.write_bytes(model.SerializeToString())


def constant(nodes, name, text):
    """Adds a constant text to the nodes of a graph or a function."""
    node = nodes.add(name=name, op="Const")
    node.attr["dtype"].type = tf.string.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(text)))


def on_loading(graph, path):
    """Writes a file when the model is loaded: the step that initialises it."""
    nodes = graph.graph_def.node
    constant(nodes, "name", path)
    constant(nodes, "content", "written")
    nodes.add(name="act", op="WriteFile", input=["name", "content"])
    graph.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "act"


def in_an_unused_function(graph, path):
    """A function that writes a file, and that nobody calls."""
    function = graph.graph_def.library.function.add()
    function.signature.name = "__inference_unused_1"
    constant(function.node_def, "name", path)
    constant(function.node_def, "content", "written")
    function.node_def.add(name="act", op="WriteFile", input=["name:output:0", "content:output:0"])


def function(graph, part):
    """The function of a graph whose name has this part."""
    (found,) = (f for f in graph.graph_def.library.function if part in f.signature.name)
    return found


def node(holder, op):
    """The node of a function or a graph with this operation."""
    (found,) = (node for node in holder if node.op == op)
    return found
