"""Faulty exports, made on purpose in the ways in which people make them by accident."""

import keras
import tensorflow as tf

LATENT = 3


def decoder(policy="float32"):
    """A small Keras 3 decoder, z [None, 3] -> pictures [None, 4, 4, 1]."""
    return keras.Sequential(
        [
            keras.layers.Input((LATENT,), dtype="float32"),
            keras.layers.Dense(64, activation="relu", dtype=policy),
            keras.layers.Dense(16, activation="sigmoid", dtype=policy),
            keras.layers.Reshape((4, 4, 1), dtype=policy),
        ]
    )


def save(directory, function, variables=(), rows=None, **options):
    """Saves a function of z [rows, 3] from a root that owns the raw variables, as a sound export does."""
    root = tf.Module()
    root.weights = [v.value if isinstance(v, keras.Variable) else v for v in variables]
    spec = tf.TensorSpec([rows, LATENT], tf.float32, "z")
    traced = tf.function(function, input_signature=[spec], **options)
    tf.saved_model.save(root, str(directory), signatures={"serving_default": traced.get_concrete_function()})


def sound(directory):
    model = decoder()
    save(directory, lambda z: {"mean": model(tf.ensure_shape(z, [None, LATENT]))}, model.weights)


def tracked_model(directory):
    """A tf.Module that tracks the Keras model: every weight twice."""
    root = tf.Module()
    root.model = model = decoder()
    spec = tf.TensorSpec([None, LATENT], tf.float32, "z")
    decode = tf.function(lambda z: {"mean": model(z)}, input_signature=[spec])
    tf.saved_model.save(root, str(directory), signatures={"serving_default": decode.get_concrete_function()})


def random_head(directory):
    """A tfp head whose value is a draw."""
    import tensorflow_probability as tfp

    model = decoder()
    head = tfp.layers.DistributionLambda(lambda mean: tfp.distributions.Normal(mean, 0.1))
    save(directory, lambda z: {"mean": tf.convert_to_tensor(head(model(z)))}, model.weights)


def compiled(directory):
    model = decoder()
    save(directory, lambda z: {"mean": model(z)}, model.weights, jit_compile=True)


def half_precision(directory):
    model = decoder("mixed_bfloat16")
    save(directory, lambda z: {"mean": tf.cast(model(z), tf.float32)}, model.weights)


def policy_switched_in_place(directory):
    """Float32 set on the layers of a model that was called in mixed_float16: the model's own casts stay."""
    keras.config.set_dtype_policy("mixed_float16")
    model = decoder("mixed_float16")
    keras.config.set_dtype_policy("float32")
    model.layers[-1].dtype_policy = keras.DTypePolicy("float32")
    save(directory, lambda z: {"mean": tf.cast(model(z), tf.float32)}, model.weights)


def without_variables(directory):
    import shutil

    sound(directory)
    shutil.rmtree(directory / "variables")


def stored_generator(directory):
    """A tf.random.Generator, whose state is saved and restored at every restart."""
    model, generator = decoder(), tf.random.Generator.from_seed(1)

    def sample(z):
        return {"mean": model(z + generator.normal(tf.shape(z)))}

    save(directory, sample, [*model.weights, generator.state])


def seed_generator(directory):
    """Keras's SeedGenerator: a stateless op, but its seed is a stored variable that each call advances."""
    model, seeds = decoder(), keras.random.SeedGenerator(1)
    save(
        directory,
        lambda z: {"mean": model(z + keras.random.normal(tf.shape(z), seed=seeds))},
        [*model.weights, seeds.state],
    )


def assertion(directory):
    model = decoder()

    def decode(z):
        tf.debugging.assert_all_finite(z, "z must be finite")
        tf.debugging.Assert(tf.reduce_all(tf.abs(z) < 100.0), [z])
        return {"mean": model(z)}

    save(directory, decode, model.weights)


def python_function(directory):
    model = decoder()

    def decode(z):
        halved = tf.numpy_function(lambda a: a / 2, [z], tf.float32)
        return {"mean": model(tf.ensure_shape(halved, [None, LATENT]))}

    save(directory, decode, model.weights)


def fixed_batch(directory):
    model = decoder()
    save(directory, lambda z: {"mean": model(z)}, model.weights, rows=1)


def rows_mixed(directory):
    """Normalised over the batch: one client's row changes another's."""
    model = decoder()

    def decode(z):
        z = tf.ensure_shape(z, [None, LATENT])
        return {"mean": model(z - tf.reduce_mean(z, axis=0))}

    save(directory, decode, model.weights)


def not_a_number(directory):
    model = decoder()
    model.layers[1].kernel.assign(model.layers[1].kernel * float("nan"))
    save(directory, lambda z: {"mean": model(tf.ensure_shape(z, [None, LATENT]))}, model.weights)


def broadcasting(directory):
    """Takes requests of any shape that happens to broadcast."""
    weight = tf.Variable(tf.ones([1, LATENT]))
    save(directory, lambda z: {"mean": z * weight + 0.0 * tf.reduce_sum(weight)}, [weight])


def absolute_path(directory):
    model = decoder()
    with tf.name_scope("decoder"):
        path = tf.constant("/nobody/models/decoder/vocabulary.txt")

    def decode(z):
        length = tf.cast(tf.strings.length(tf.identity(path)), tf.float32)
        return {"mean": model(tf.ensure_shape(z, [None, LATENT])) * length / length}

    save(directory, decode, model.weights)


def tflite(directory, file, ops=("TFLITE_BUILTINS",), resource_variables=False):
    """Converts a SavedModel as a tutorial would."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(directory))
    converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, name) for name in ops]
    converter.experimental_enable_resource_variables = resource_variables
    file.write_bytes(converter.convert())


def tracked_device(directory, file):
    """The converter finds no values for the second handles: a few kB that hold no weights."""
    tracked_model(directory)
    tflite(directory, file)


def flex(directory, file):
    """The settings of Keras's own exporter: TensorFlow's ops and variables allowed."""
    stored_generator(directory)
    tflite(directory, file, ("TFLITE_BUILTINS", "SELECT_TF_OPS"), resource_variables=True)


def nan_device(directory, file):
    not_a_number(directory)
    tflite(directory, file)


def random_device(directory, file):
    """TFLite's own random op."""
    model = decoder()
    save(directory, lambda z: {"mean": model(z + tf.random.normal(tf.shape(z)))}, model.weights)
    tflite(directory, file)
