"""Exports of every part: each line of the table of constructors in some combination, and the two precisions."""

import export_models
import keras
import numpy as np
import parts
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import keras_vae as kv
from keras_vae import evaluation, export, objectives, posteriors, priors
from keras_vae.export import metadata, saved_model
from keras_vae.export.proof import fresh, permitted
from keras_vae.export.proof.fresh import Call
from keras_vae_cli.commands.export import export_run

# Posterior, prior, likelihood, network, condition, each combination allowed.
CHOSEN = [
    ("diag", "standard_normal", "bernoulli", "conv", "image"),
    ("tril", "mixture", "continuous_bernoulli", "residual", "label"),
    ("eigen", "vamp", "normal", "gated_mlp", "unconditional"),
    ("low_rank", "real_nvp", "normal_per_pixel", "mlp", "vector"),
    ("kumaraswamy", "uniform", "logistic", "conv", "unconditional"),
    ("deterministic", "standard_normal", "logistic_mixture", "residual", "unconditional"),
    ("iaf", "mixture", "categorical", "conv", "unconditional"),
    ("coupling", "vamp", "binomial", "residual", "unconditional"),
    ("diag", "conditional", "bernoulli", "mlp", "label"),
    ("one_hot", "one_hot", "bernoulli", "mlp", "unconditional"),
    ("joint", "joint", "normal", "conv", "unconditional"),
    ("quantized", "codes", "logistic", "conv", "unconditional"),
    ("quantized", "codes", "logistic", "mlp", "label"),
    ("finite_scalar", "codes_of_levels", "normal", "mlp", "unconditional"),
    ("lookup_free", "codes_of_bits", "bernoulli", "conv", "unconditional"),
    ("residual_codes", "codes_of_stages", "bernoulli", "mlp", "unconditional"),
    ("grouped_codes", "codes_of_groups", "logistic", "mlp", "label"),
    ("diag", "mixture", "logistic", "ladder_conv", "label"),
    ("tril", "standard_normal", "bernoulli", "ladder_mlp", "unconditional"),
    ("diag", "standard_normal", "series", "conv", "label"),
    ("diag", "standard_normal", "series", "ladder_conv", "unconditional"),
]
# The others take up to four seconds.
EVERYDAY = ("image", "quantized", "ladder_mlp")
TABLES = (parts.POSTERIORS, parts.PRIORS, parts.LIKELIHOODS, parts.NETWORKS, parts.CONDITIONS)


def plain(column, name):
    """The plainest combination with a line of a table that is in none of the chosen ones: a new part."""
    row = ["diag", "standard_normal", "bernoulli", "mlp", "unconditional"]
    row[column] = name
    if column == 0:
        row[1] = parts.PRIOR_OF.get(name, "standard_normal")
    return tuple(row)


NEW = [plain(i, name) for i, table in enumerate(TABLES) for name in table if name not in {row[i] for row in CHOSEN}]
COMBINATIONS = CHOSEN + NEW


def make(posterior, prior, likelihood, network, condition):
    given, sizes = parts.CONDITIONS[condition](), [8, 8] if parts.is_ladder(network) else [8]
    vae = kv.VAE(
        parts.encoder(network, sizes, parts.POSTERIORS[posterior](), given),
        parts.decoder(network, sizes, parts.LIKELIHOODS[likelihood](), given),
        parts.prior(prior, given),
        objectives.Reconstruction() if posterior == "deterministic" else None,
    )
    vae.build()
    vae.adapt(parts.data(vae.decoder.likelihood))
    return vae


def test_the_combinations_have_every_line_of_the_table():
    for column, table in enumerate(TABLES):
        assert {row[column] for row in COMBINATIONS} == set(table)


def marked(combination):
    marks = () if set(EVERYDAY) & set(combination) else pytest.mark.slow
    return pytest.param(combination, id="-".join(combination), marks=marks)


@pytest.mark.parametrize("combination", [marked(combination) for combination in COMBINATIONS])
def test_every_part_has_every_signature(combination):
    """Without writing anything: the graphs of all signatures, and their answers to rows that are alone or not."""
    vae = make(*combination)
    traced, left_out = saved_model._trace(vae)
    names = {"decode", "sample", "encode", "reconstruct", "log_likelihood", "score"}
    names |= {"encode_indices", "decode_indices"} if combination[0] in parts.CODES else set()
    # p(x given z) of the top level of a hierarchy is an integral over the levels below.
    names -= {"log_likelihood"} if parts.is_ladder(combination[3]) else set()
    assert set(traced) == names, left_out
    x = parts.data(vae.decoder.likelihood, 5)
    seeds = np.arange(10, dtype="int32").reshape(5, 2)
    call = {name: function for name, (_, function) in traced.items()}
    for function in call.values():
        model = SavedModel()
        model.meta_graphs.add().graph_def.CopyFrom(function.graph.as_graph_def())
        assert not permitted.refused(model)
    c = parts.given(vae.condition, 5)
    given = {} if c is None else {"condition": tf.constant(c.astype(vae.condition.dtype))}
    if parts.is_ladder(combination[3]):
        # At temperature 0 the levels below the top are at their means, as `decode` has them.
        given = {**given, "temperature": tf.zeros(5)}
    fourth = {name: value[3:4] for name, value in given.items()}
    drawn = call["sample"](seed=tf.constant(seeds), **given)
    z = drawn["z"]
    assert z.shape == (5, parts.L) and np.isfinite(z).all()
    np.testing.assert_allclose(drawn["mean"], vae.decode(z, c).mean(), atol=1e-5)
    np.testing.assert_allclose(call["sample"](seed=tf.constant(seeds[3:4]), **fourth)["z"][0], z[3], atol=1e-5)
    given.pop("temperature", None)
    np.testing.assert_allclose(call["reconstruct"](x=tf.constant(x), **given)["mean"], vae.reconstruct(x, c), atol=1e-5)
    if "log_likelihood" in names:
        expected = vae.decode(z, c).log_prob(x)
        np.testing.assert_allclose(
            call["log_likelihood"](z=z, x=tf.constant(x), **given)["log_likelihood"], expected, rtol=1e-4, atol=1e-3
        )
    of_examples = x if c is None else (x, c)
    kind = "elbo" if vae.encoder.posterior.has_density else "reconstruction"
    np.testing.assert_allclose(
        call["score"](x=tf.constant(x), **given)["score"], evaluation.scores(vae, of_examples, kind), rtol=1e-4
    )
    encoded = call["encode"](x=tf.constant(x), **given)
    assert set(encoded) in ({"loc", "scale"}, {"loc"}, {"point"}, {"point", "indices"})
    assert all(np.isfinite(value).all() and value.shape[0] == 5 for value in encoded.values())
    none = {name: value[:0] for name, value in given.items()}
    assert call["decode"](z=z[:0], **none)["mean"].shape == (0, *vae.decoder.event_shape)


def test_codes_of_a_class_are_drawn_given_the_class_and_a_class_that_is_none_has_none():
    vae = export_models.codes_of_a_class()
    traced, left_out = saved_model._trace(vae)
    assert not left_out
    call = {name: function for name, (_, function) in traced.items()}
    seeds, classes = tf.constant([[5, 6]] * 6), tf.constant([0, 1, 2, 3, 4, -1])
    drawn = call["sample"](seed=seeds, condition=classes)
    assert len(np.unique(drawn["z"][:4], axis=0)) > 1  # one seed, four priors
    np.testing.assert_array_equal(np.isfinite(drawn["mean"]).all((1, 2, 3)), [True] * 4 + [False] * 2)
    np.testing.assert_allclose(drawn["mean"][:4], vae.decode(drawn["z"][:4], classes[:4]).mean(), atol=1e-5)
    # What is drawn of a class has the shares of codes that the model itself draws of it.
    codebook = vae.encoder.posterior.codebook.numpy()[:, 0]

    def shares(z):
        return np.mean(np.argmin(np.abs(z[:, :1] - codebook), axis=1)[:, None] == np.arange(8), axis=0)

    seeds = tf.reshape(tf.range(800), [400, 2])
    for label in (0, 3):
        served = call["sample"](seed=seeds, condition=tf.fill([400], label))["z"].numpy()
        prior = vae.prior.distribution(encoder=vae.encoder, condition=tf.fill([4000], label))
        np.testing.assert_allclose(shares(served), shares(prior.sample(seed=[1, 2]).numpy()), atol=0.12)
    x = tf.constant(np.random.default_rng(1).integers(0, 256, (6, *export_models.EVENT)) / np.float32(255), tf.float32)
    indices = call["encode_indices"](x=x, condition=classes)["indices"]
    np.testing.assert_array_equal(indices[:4], vae.encode(x[:4], classes[:4]).indices.numpy().reshape(4, 2, 2))
    np.testing.assert_array_equal(indices, call["encode"](x=x, condition=classes)["indices"])
    assert (indices.numpy()[4:] == -1).all()
    again = call["decode_indices"](indices=indices, condition=classes)["mean"]
    np.testing.assert_allclose(again[:4], vae.reconstruct(x[:4], classes[:4]), atol=1e-5)
    assert np.isnan(again[4:]).all()


def of_updates(name):
    return pytest.param(name, marks=pytest.mark.slow if name == "gan" else pytest.mark.exhaustive)


@pytest.mark.parametrize("name", [of_updates(name) for name in parts.VAES if name != "plain"])
def test_a_model_with_an_update_of_its_own_is_exported_like_any_other(name, tmp_path):
    """After training: encoder and decoder answer as Keras does, and the file of a device has the weights of no more."""
    vae = parts.VAES[name]()
    vae.compile("adam")
    x = parts.data(vae.decoder.likelihood)
    vae.fit(x, batch_size=8, epochs=2, verbose=0)
    x, z = x[:1], vae.generate(1, seed=0).z.numpy()
    device = tmp_path / "device.tflite"
    served, on_device = export.to_saved_model(vae, tmp_path / "decoder").path, export.to_tflite(vae, device).path
    inputs = {"decode": {"z": z}, "encode": {"x": x}, "reconstruct": {"x": x}}
    expected = {"decode": vae.decode(z).mean(), "reconstruct": vae.reconstruct(x)}
    for path, suffix in ((served, ""), (on_device, "_1")):
        results = fresh.run(path, [Call(f"{name}{suffix}", given) for name, given in inputs.items()]).results
        found = {name: result.outputs for name, result in zip(inputs, results, strict=True)}
        for signature, mean in expected.items():
            np.testing.assert_allclose(found[signature]["mean"], mean, atol=1e-5)
        if name not in ("cascade", "smooth_code"):  # whose codes have a discrete part
            np.testing.assert_allclose(found["encode"]["loc"], vae.encode(x).mean(), atol=1e-5)
    facts = metadata.read(device.read_bytes())
    assert facts["num_weights"] == vae.decoder.count_params() + vae.encoder.count_params()


@pytest.mark.exhaustive
@pytest.mark.parametrize("combination", COMBINATIONS, ids="-".join)
def test_every_part_is_exported_or_refused_in_plain_words(combination, tmp_path):
    vae = make(*combination)
    report = export.to_saved_model(vae, tmp_path / "decoder")
    assert report.ok and set(report.left_out) == ({"log_likelihood"} if parts.is_ladder(combination[3]) else set())
    for quantization in (None, "float16", "dynamic"):
        assert export.to_tflite(vae, tmp_path / "decoder.tflite", quantization).ok
    try:
        export.to_tflite(vae, tmp_path / "int8.tflite", "int8")
    except export.ExportError as error:
        # Means that divide by small numbers or add many small ones cannot do so in 8 bits.
        assert 'try quantization="dynamic"' in str(error)
        assert combination[2] in ("continuous_bernoulli", "normal_per_pixel", "categorical", "series")
        assert not (tmp_path / "int8.tflite").exists()


@pytest.mark.slow
def test_an_assertion_of_a_likelihood_is_taken_out_and_values_outside_its_support_harm_nobody(tmp_path):
    vae = make("diag", "standard_normal", "categorical", "mlp", "unconditional")
    report = export.to_saved_model(vae, tmp_path / "decoder")
    x = parts.data(vae.decoder.likelihood, 6)
    z = np.zeros((6, parts.L), "float32")
    wrong = x.copy()
    wrong[1, 0, 0, 0], wrong[2, 0, 0, 0], wrong[4, 0, 0, 0] = np.nan, 7.0, -1.0
    calls = [Call("log_likelihood", {"z": z, "x": rows}) for rows in (x, wrong)]
    clean, touched = (result.outputs["log_likelihood"] for result in fresh.run(report.path, calls).results)
    np.testing.assert_allclose(clean, vae.decode(z).log_prob(x), rtol=1e-5)
    np.testing.assert_array_equal(touched[[0, 3, 5]], clean[[0, 3, 5]])
    assert np.isnan(touched[[1, 2, 4]]).all()


def of_ci(network, policy):
    marks = pytest.mark.slow if (network, policy) == ("dense", "mixed_float16") else pytest.mark.exhaustive
    return pytest.param(network, policy, marks=marks)


POLICIES = [
    of_ci(network, policy) for network in ("dense", "conv") for policy in ("float32", "mixed_float16", "mixed_bfloat16")
]


@pytest.mark.parametrize(("network", "policy"), POLICIES)
def test_models_trained_in_every_precision_are_exported_from_their_run_folder(
    network, policy, digits, tmp_path, capsys
):
    vae = export_models.trained(digits, network, policy, epochs=1)
    vae.save(tmp_path / "vae.keras")
    reports = export_run(tmp_path, quantizations=("none", "float16", "dynamic", "int8"))
    files = [report.path.relative_to(tmp_path / "export").as_posix() for report in reports]
    kinds = ["decoder_float16.tflite", "decoder_dynamic.tflite", "decoder_int8.tflite"]
    assert files == ["saved_model/1", "decoder.tflite", *kinds]
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("saved_model/1", "decoder.tflite", "largest error"))
    assert ("exported in float32" in printed) == (policy != "float32")
    z = np.random.default_rng(0).standard_normal((64, export_models.LATENT)).astype("float32")
    expected = np.asarray(vae.decode(z).mean())
    half = 0.0 if policy == "float32" else 0.02
    for report, tolerance in zip(reports, (1e-5, 1e-5, 5e-3, 0.1, 0.25), strict=True):
        served = fresh.run(report.path, [Call("serving_default", {"z": z})]).results[0].outputs["mean"]
        assert np.abs(served - expected).max() <= tolerance + half
    assert export.verify(tmp_path / "export" / "saved_model").ok
    second = export_run(tmp_path, formats=("saved_model",))
    assert [report.path.name for report in second] == ["2"]


def test_unknown_formats_and_quantizations_of_a_run_are_refused(tmp_path):
    for wrong in ({"formats": ("onnx",)}, {"formats": ()}, {"quantizations": ("int4",)}, {"quantizations": ()}):
        with pytest.raises(export.ExportError, match="must be one of"):
            export_run(tmp_path, **wrong)
    with pytest.raises(export.ExportError, match=r"holds no vae.keras"):
        export_run(tmp_path)


def test_versions_of_a_run_are_looked_at_before_its_model(tmp_path):
    for version in (0, 2**63, 1.5, "latest"):
        with pytest.raises(export.ExportError, match="must be an int from 1 to 9223372036854775807"):
            export_run(tmp_path, version=version)
    with pytest.raises(export.ExportError, match="a version is of the format saved_model"):
        export_run(tmp_path, formats=("tflite",), version=1)


@kv.register
class Stubborn(posteriors.MultivariateNormalDiag):
    """A posterior whose point is drawn anew at each call, which no export may hold."""

    def point(self, q):
        return q.sample()


@pytest.mark.slow
def test_a_signature_that_a_model_cannot_have_is_left_out_and_named(tmp_path, capsys):
    vae = export_models.make(posterior=Stubborn(export_models.LATENT))
    report = export.to_saved_model(vae, tmp_path / "decoder")
    assert set(report.left_out) == {"encode", "reconstruct", "score"}
    assert "random state" in report.left_out["reconstruct"]
    assert "reconstruct" not in fresh.run(report.path, []).signatures
    report.print()
    assert "without the signature reconstruct" in capsys.readouterr().out


def test_a_decoder_that_cannot_be_exported_is_refused(tmp_path):
    vae = export_models.make()
    network = keras.Sequential([keras.layers.Dense(8), Noise()])
    noisy = kv.VAE(
        vae.encoder, kv.Decoder(network, vae.decoder.likelihood), priors.StandardNormal(export_models.LATENT)
    )
    noisy.build()
    with pytest.raises(export.ExportError, match=r"decoder cannot be exported.*random state"):
        export.to_saved_model(noisy, tmp_path / "decoder")
    with pytest.raises(export.ExportError, match="random"):
        export.to_tflite(noisy, tmp_path / "decoder.tflite")
    assert not list(tmp_path.iterdir())


@keras.saving.register_keras_serializable("tests")
class Noise(keras.layers.Layer):
    """Noise at inference as well as in training."""

    def call(self, x):
        return x + tf.random.normal(tf.shape(x))
