"""`export.to_tflite`: what runs on a device, without TensorFlow, answers as Keras does as far as its width allows."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import export_models
import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from tensorflow_probability import bijectors as tfb

import keras_vae as kv
from keras_vae import evaluation, export, flows, likelihoods, networks, posteriors, priors
from keras_vae.conditions import Image
from keras_vae.distributions import scales
from keras_vae.distributions.grid import clipped_logistic_mean
from keras_vae.distributions.support import Support
from keras_vae.export import calibration, metadata, publish, tflite
from keras_vae.export.errors import ExportError
from keras_vae.export.proof import fresh
from keras_vae.export.proof.fresh import Call
from keras_vae.export.proof.report import Report
from keras_vae.export.signatures import signatures
from keras_vae.models.ladder import LadderDecoder, LadderEncoder

L, EVENT = export_models.LATENT, export_models.EVENT
# Largest and mean error against eager Keras, and bytes per weight.
TOLERANCES = {None: (1e-5, 1e-5, 4), "float16": (5e-3, 5e-3, 2), "dynamic": (0.1, 5e-3, 1), "int8": (0.25, 1e-2, 1)}


@pytest.fixture(scope="module")
def vae(digits):
    keras.utils.set_random_seed(0)
    return export_models.trained(digits, "conv")


@pytest.fixture(scope="module")
def exported(vae, digits, tmp_path_factory):
    """The file of the convolutional decoder at a width, written when it is first asked for; all are in one folder."""
    folder = tmp_path_factory.mktemp("devices")

    def at(quantization):
        file = folder / f"{quantization}.tflite"
        if not file.exists():
            export.to_tflite(vae, file, quantization, calibration=digits[:512])
        return file

    return at


WIDTHS = [pytest.param(width, marks=pytest.mark.slow) if width else width for width in TOLERANCES]


def z_of(rows, seed=5):
    return np.random.default_rng(seed).standard_normal((rows, L)).astype("float32")


def both(*names):
    return {f"{name}_{rows}" for name in names for rows in (1, 64)}


@pytest.mark.parametrize("quantization", WIDTHS)
def test_every_signature_answers_as_keras_does(quantization, vae, digits, exported):
    z, x = z_of(64), digits[600:664]
    answers = {
        "decode": ({"z": z}, {"mean": vae.decode(z).mean()}),
        "encode": ({"x": x}, {"loc": vae.encode(x).mean(), "scale": vae.encode(x).stddev()}),
        "reconstruct": ({"x": x}, {"mean": vae.reconstruct(x)}),
        "log_likelihood": ({"z": z, "x": x}, {"log_likelihood": vae.decode(z).log_prob(x)}),
        "score": ({"x": x}, {"score": evaluation.scores(vae, x)}),
    }
    if quantization == "int8":
        del answers["log_likelihood"]
    calls = [Call("serving_default", {"z": z}), Call("serving_default", {"z": z[:5]})]
    places = [("decode", 64), ("decode", 5)]
    for name, (inputs, _) in answers.items():
        for rows in (1, 64):
            calls.append(Call(f"{name}_{rows}", {key: array[:rows] for key, array in inputs.items()}))
            places.append((name, rows))
    response = fresh.run(exported(quantization), calls)
    drawn = {"sample", *both("sample")} if quantization != "int8" else set()
    assert set(response.signatures) == {"serving_default", *both(*answers)} | drawn
    largest, mean, _ = TOLERANCES[quantization]
    for result, (name, rows) in zip(response.results, places, strict=True):
        assert result.ok, result.message
        expected = answers[name][1]
        assert set(result.outputs) == set(expected)
        for key, values in expected.items():
            values = np.asarray(values)
            # Of the largest value, as sums of many are only as close as that.
            difference = np.abs(result.outputs[key] - values[:rows]) / max(1.0, np.abs(values).max())
            assert result.outputs[key].dtype == np.float32 and difference.max() <= largest
            assert difference.mean() <= mean * (3 if rows == 1 else 1)


@pytest.mark.parametrize("quantization", WIDTHS[:2])
def test_batches_of_a_browser_draw_what_the_open_one_draws(quantization, exported):
    seeds = np.random.default_rng(3).integers(-(2**31), 2**31, (64, 2)).astype("int32")
    calls = [Call("sample", {"seed": seeds}), Call("sample_64", {"seed": seeds}), Call("sample_1", {"seed": seeds[:1]})]
    response = fresh.run(exported(quantization), calls)
    opened, fixed, one = (result.outputs for result in response.results)
    for key in ("z", "mean"):
        np.testing.assert_allclose(fixed[key], opened[key], atol=1e-5)
        np.testing.assert_allclose(one[key], opened[key][:1], atol=1e-5)
    for name, (inputs, outputs) in response.signatures.items():
        rows = {shape[0] for side in (inputs, outputs) for _, shape in side.values()}
        assert rows == {None if name in ("sample", "serving_default") else int(name.rpartition("_")[2])}


@pytest.mark.parametrize("quantization", WIDTHS)
def test_a_file_holds_its_weights_once_and_builtin_ops_only(quantization, vae, exported):
    content = exported(quantization).read_bytes()
    facts = metadata.read(content)
    _, _, width = TOLERANCES[quantization]
    assert facts["num_weights"] == vae.decoder.count_params() + vae.encoder.count_params()
    assert 0.9 * width * facts["num_weights"] < len(content) < width * facts["num_weights"] + 250_000
    assert not [name for name in metadata.operators(content) if name.startswith("CUSTOM") or "VAR" in name]
    root = schema.Model.GetRootAs(content, 0)
    large = [root.Buffers(i).DataAsNumpy() for i in range(root.BuffersLength()) if root.Buffers(i).DataLength() > 1024]
    start = np.frombuffer(content, np.uint8).ctypes.data
    assert large and all((data.ctypes.data - start) % 16 == 0 for data in large)


@pytest.mark.slow
@pytest.mark.parametrize("hierarchical", [False, True])
def test_no_shape_is_computed_before_a_reshape_and_every_call_answers_alike(hierarchical, tmp_path):
    """LiteRT 2.3 answered wrongly from the second call on, in one process of eight, around computed shapes."""
    condition = Image((4, 4, 3))
    prior = priors.ConditionalNormal(L, condition, networks.mlp([16]))
    bernoulli, normal = likelihoods.Bernoulli((8, 8, 3)), posteriors.MultivariateNormalDiag(L)
    up, down = networks.residual([8, 16]), networks.residual([16, 8])
    if hierarchical:
        parts = LadderEncoder(up, normal, condition), LadderDecoder(down, bernoulli, 2, condition)
    else:
        parts = kv.Encoder(up, normal, condition), kv.Decoder(down, bernoulli, condition)
    vae = kv.VAE(*parts, prior)
    vae.build((None, 8, 8, 3))
    file = tmp_path / "decoder.tflite"
    # Scores of a hierarchy are drawn by TFP, example by example.
    assert set(export.to_tflite(vae, file).left_out) == ({"score"} if hierarchical else set())
    model = schema.Model.GetRootAs(file.read_bytes(), 0)
    operators = schema.BuiltinOperator
    found = set()
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for operator in map(graph.Operators, range(graph.OperatorsLength())):
            code = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
            found.add(code)
            # The condition of an example stands beside all draws of its score.
            if code in (operators.RESHAPE, operators.TILE) and operator.InputsLength() > 1:
                assert model.Buffers(graph.Tensors(operator.Inputs(1)).Buffer()).DataLength() > 0
    assert operators.RESHAPE in found and operators.BROADCAST_TO not in found
    x = np.zeros((1, 8, 8, 3), "float32")
    seeds, given = np.arange(16, dtype="int32").reshape(8, 2), np.random.default_rng(0).random((8, 4, 4, 3), "float32")
    inputs = {"seed": seeds, "condition": given} | ({"temperature": np.ones(8, "float32")} if hierarchical else {})
    for _ in range(20):
        sample = Interpreter(str(file)).get_signature_runner("sample")
        first, *others = (sample(**inputs)["mean"] for _ in range(4))
        assert all(np.array_equal(first, other) for other in others)
        if not hierarchical:
            score = Interpreter(str(file)).get_signature_runner("score_1")
            first, *others = (score(x=x, condition=given[:1])["score"] for _ in range(4))
            assert all(np.array_equal(first, other) for other in others)


@pytest.mark.slow
def test_the_file_says_what_it_is(vae, exported):
    facts = metadata.read(exported("int8").read_bytes())
    assert (facts["latent_dim"], facts["event_shape"], facts["quantization"]) == (L, list(EVENT), "int8")
    assert (facts["likelihood"], facts["prior"], facts["value_range"]) == ("Bernoulli", "StandardNormal", [0.0, 1.0])
    same = metadata.read(exported(None).read_bytes())
    assert same["weights_sha256"] == facts["weights_sha256"] and len(facts["weights_sha256"]) == 64


def test_metadata_leave_the_model_as_it_was(exported, tmp_path):
    twice = metadata.write(exported(None).read_bytes(), {"latent_dim": 9})
    (tmp_path / "twice.tflite").write_bytes(twice)
    call = Call("decode_1", {"z": z_of(1)})
    first, second = (fresh.run(file, [call]).results[0] for file in (exported(None), tmp_path / "twice.tflite"))
    np.testing.assert_array_equal(first.outputs["mean"], second.outputs["mean"])


@pytest.mark.slow
def test_sample_gives_the_same_z_as_the_saved_model_at_every_width(vae, exported):
    seeds = np.random.default_rng(0).integers(-(2**31), 2**31, (50, 2)).astype("int32")
    served = tf.function(lambda seed: export_signature(vae)(seed=seed))(tf.constant(seeds))["z"].numpy()
    for quantization in (None, "float16", "dynamic"):
        calls = [Call("sample", {"seed": rows}) for rows in (seeds, seeds[9:10])]
        batch, alone = (result.outputs for result in fresh.run(exported(quantization), calls).results)
        np.testing.assert_allclose(batch["z"], served, atol=1e-5)
        np.testing.assert_array_equal(alone["z"][0], batch["z"][9])
        assert np.abs(batch["mean"] - np.asarray(vae.decode(served).mean())).max() <= TOLERANCES[quantization][0]


def export_signature(vae):

    return signatures(vae)["sample"].function


@pytest.mark.parametrize("quantization", WIDTHS)
def test_bad_requests_are_refused_and_harm_nobody(quantization, exported):
    z = z_of(64)
    poisoned = z.copy()
    poisoned[2], poisoned[4] = np.nan, np.inf
    others = [row for row in range(64) if row not in (2, 4)]
    bad = [z[:, :-1], np.hstack([z, z]), z[0], z[None], z.astype("int32"), z.astype("float64")]
    calls = [Call(name, {"z": array}) for name in ("serving_default", "decode_64") for array in bad]
    calls += [Call("decode_64", {"z": z}), Call("decode_64", {"z": poisoned})]
    calls += [Call("serving_default", {"z": z[:0]})]
    results = fresh.run(exported(quantization), calls).results
    assert not any(result.ok for result in results[:-3])
    clean, touched, empty = (result.outputs["mean"] for result in results[-3:])
    np.testing.assert_array_equal(touched[others], clean[others])
    assert empty.shape == (0, *EVENT)


@pytest.mark.slow
def test_export_json_beside_the_files_has_every_measurement(exported):
    (folder,) = {exported(quantization).parent for quantization in TOLERANCES}
    record = json.loads((folder / "export.json").read_text())
    assert set(record["models"]) == {f"{quantization}.tflite" for quantization in TOLERANCES}
    for name, entry in record["models"].items():
        assert entry["files"][name]["bytes"] == (folder / name).stat().st_size
        assert all(check["passed"] for check in entry["checks"])
        assert {"batch 1, max", "batch 64, mean"} <= set(entry["errors"]["serving_default"])
        assert set(entry["milliseconds_per_row"]["serving_default"]) == {"1", "64"}
    errors = {name: record["models"][f"{name}.tflite"]["errors"]["decode_64"]["batch 64, max"] for name in TOLERANCES}
    assert 0.0 < errors[None] < errors["float16"] < errors["dynamic"]


def test_a_changed_file_is_noticed(exported, tmp_path):
    for name in ("None.tflite", "export.json"):
        (tmp_path / name).write_bytes((exported(None).parent / name).read_bytes())
    assert export.verify(tmp_path / "None.tflite").ok
    content = bytearray((tmp_path / "None.tflite").read_bytes())
    content[content.index(b'"latent_dim": ') + 14] ^= 1
    (tmp_path / "None.tflite").write_bytes(content)
    with pytest.raises(export.VerificationError, match="changed since the export"):
        export.verify(tmp_path / "None.tflite")


def test_a_file_without_its_weights_is_noticed(exported, tmp_path):
    content = exported(None).read_bytes()
    facts = metadata.read(content)
    (tmp_path / "small.tflite").write_bytes(
        metadata.write(content, {**facts, "num_weights": 10 * facts["num_weights"]})
    )
    with pytest.raises(export.VerificationError, match="size"):
        export.verify(tmp_path / "small.tflite")


@pytest.mark.slow
@pytest.mark.parametrize("quantization", [None, "int8"])
def test_two_exports_of_one_model_are_the_same_bytes(quantization, vae, digits, exported, tmp_path):
    vae.save(tmp_path / "vae.keras")
    export.to_tflite(tmp_path / "vae.keras", tmp_path / "again.tflite", quantization, calibration=digits[:512])
    assert (tmp_path / "again.tflite").read_bytes() == exported(quantization).read_bytes()


def test_a_prior_of_builtin_draws_keeps_its_sample_and_int8_sees_its_range(tmp_path):
    vae = export_models.make(prior=priors.StandardNormal(2), posterior=posteriors.MultivariateNormalDiag(2))
    z, again, other = (calibration.draws(vae, 4096, seed)["z"] for seed in (0, 0, 1))
    assert z.shape == (4096, 2) and abs(z.std() - 1.0) < 0.05
    np.testing.assert_array_equal(z, again)
    assert not np.array_equal(z, other)


# Where the encoder goes.


def record_of(folder):
    return json.loads((folder / "export.json").read_text())["models"]


def test_a_large_encoder_has_a_file_of_its_own_which_goes_when_it_is_not_written_again(digits, tmp_path, monkeypatch):
    vae, decoder, encoder = export_models.make(), tmp_path / "decoder.tflite", tmp_path / "encoder.tflite"
    weights = 4 * vae.encoder.count_params()
    monkeypatch.setattr(tflite, "LARGEST_GUEST", weights - 1)
    report = export.to_tflite(vae, decoder)
    assert report.encoder.path == encoder and report.facts["encoder_file"] == "encoder.tflite"
    assert set(report.left_out) == {"reconstruct"} and "both files" in report.left_out["reconstruct"]
    assert set(report.encoder.errors) == both("encode", "score")
    assert set(report.errors) == {"serving_default", "sample", *both("decode", "sample", "log_likelihood")}
    assert encoder.stat().st_size > 0.9 * 4 * (vae.encoder.count_params() + vae.decoder.count_params())
    assert set(record_of(tmp_path)) == {"decoder.tflite", "encoder.tflite"}
    assert export.verify(decoder).ok and export.verify(encoder).ok
    served = fresh.run(encoder, [Call("encode_1", {"x": digits[:1]})]).results[0].outputs
    np.testing.assert_allclose(served["loc"], vae.encode(digits[:1]).mean(), atol=1e-5)
    monkeypatch.setattr(tflite, "LARGEST_GUEST", weights)
    report = export.to_tflite(vae, decoder)
    assert report.encoder is None and not report.left_out
    assert set(record_of(tmp_path)) == {"decoder.tflite"} and not encoder.exists()


@pytest.mark.slow
def test_scores_in_8_bits_tell_anomalies_as_well_and_others_are_left_out(vae, digits, tmp_path, monkeypatch):
    report = export.to_tflite(vae, tmp_path / "model.tflite", "int8", calibration=digits[:512])
    found = report.errors["score_64"]
    assert 0 < found["AUROC, expected"] < 1 and abs(found["AUROC"] - found["AUROC, expected"]) <= 0.005
    (check,) = [check for check in report.checks if check.name.startswith("tells anomalies")]
    assert check.passed and f"AUROC {found['AUROC']:.4f}" in check.detail
    (check,) = [check for check in report.checks if check.name.startswith("ranks alike")]
    assert check.passed and found["rank correlation of the scores"] >= 0.99
    export.to_tflite(vae, tmp_path / "exact.tflite")
    again = export.verify(tmp_path / "model.tflite", against=tmp_path / "exact.tflite", examples=digits[:512])
    assert again.errors["score_64"]["AUROC, expected"] == pytest.approx(found["AUROC, expected"], abs=0.05)
    with pytest.raises(ExportError, match="at least 64"):
        export.verify(tmp_path / "model.tflite", against=tmp_path / "exact.tflite", examples=digits[:5])
    # In 8 bits throughout, as every other signature is.
    monkeypatch.setattr(tflite.metadata, "results", lambda *_, **__: set())
    report = export.to_tflite(vae, tmp_path / "model.tflite", "int8", calibration=digits[:512])
    assert "score" in report.left_out and not any(name.startswith("score") for name in report.errors)


@pytest.mark.slow
def test_where_the_encoder_goes_can_be_said(digits, tmp_path):
    vae = export_models.make()
    for where in ("beside", "none"):
        report = export.to_tflite(vae, tmp_path / "digits_int8.tflite", "int8", encoder=where, calibration=digits[:300])
        assert set(report.errors) == {"serving_default", *both("decode")}
        assert report.encoder is None or set(report.encoder.errors) == both("encode", "score")
        assert (tmp_path / "digits_int8_encoder.tflite").exists() == (where == "beside")
    assert report.left_out["encode"] == 'encoder="none"'
    report = export.to_tflite(vae, tmp_path / "all.tflite", "int8", encoder="inside", calibration=digits[:300])
    assert set(report.errors) == {"serving_default", *both("decode", "encode", "reconstruct", "score")}


@pytest.mark.slow
def test_int8_without_examples_has_no_encoder_and_says_what_it_takes(digits, tmp_path):
    vae = export_models.make()
    for few in (None, digits[:191]):
        report = export.to_tflite(vae, tmp_path / "decoder.tflite", "int8", calibration=few)
        assert "calibration=, at least 192" in report.left_out["encode"]
        assert set(report.errors) == {"serving_default", *both("decode")}


def test_examples_are_taken_in_every_form_and_the_last_are_for_comparisons(digits):
    vae = export_models.make()
    batches = tf.data.Dataset.from_tensor_slices((digits[:300], np.arange(300))).batch(32)
    for data, count in ((digits, 264), ((digits[:200], np.arange(200)), 200), (batches, 264)):
        shown = calibration.examples(vae, data, 200)
        assert set(shown) == {"x"}
        np.testing.assert_array_equal(shown["x"], digits[:count])
        np.testing.assert_array_equal(calibration.compared(shown)["x"], digits[count - 64 : count])
        assert len(calibration.kept(shown)["x"]) == count - 64
    names = ["encode_1", "encode_64"]
    fed = list(calibration.batches(names, {name: {"x": digits[:130]} for name in names}))
    assert [name for name, _ in fed].count("encode_1") == 192 and [name for name, _ in fed].count("encode_64") == 3


def test_examples_that_do_not_fit_are_refused(vae, digits, tmp_path):
    for given, message in {
        "too few": (digits[:191], "191 complete examples are too few.*at least 192"),
        "none": (None, "needs the ranges of real examples: calibration=images, at least 192"),
        "another shape": (digits[:, :4], "calibration: .*shape"),
        "not binary": (digits * 0.5, "calibration: .*zeros and ones"),
        "endless": (tf.data.Dataset.from_tensors(digits).repeat(), "never end"),
    }.values():
        with pytest.raises(export.ExportError, match=message):
            export.to_tflite(vae, tmp_path / "decoder.tflite", "int8", encoder="inside", calibration=given)
    with pytest.raises(export.ExportError, match="encoder must be one of"):
        export.to_tflite(vae, tmp_path / "decoder.tflite", encoder="left")
    assert not list(tmp_path.iterdir())


SCORED = {
    "vamp": lambda: {"prior": priors.VampPrior(L, num_pseudo_inputs=50)},
    "mixture": lambda: {"prior": priors.NormalMixture(L, num_components=50)},
    "full": lambda: {"posterior": posteriors.MultivariateNormalTriL(L)},
    "flows": lambda: {
        "posterior": flows.Flow(posteriors.MultivariateNormalTriL(L), "iaf", units=(16,), context_size=4),
        "prior": priors.RealNVP(L, num_layers=2, units=(16,)),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SCORED)
def test_scores_of_mixtures_full_covariances_and_flows_are_of_builtin_ops(tmp_path, digits, kind):
    vae = export_models.trained(digits, epochs=1, **SCORED[kind]())
    report = export.to_tflite(vae, tmp_path / "model.tflite")
    assert not report.left_out and {*both("score")} <= set(report.errors)
    assert not any("scale" in note for note in report.notes)
    scored, encoded = fresh.run(
        report.path, [Call(name, {"x": digits[:64]}) for name in ("score_64", "encode_64")]
    ).results
    np.testing.assert_allclose(scored.outputs["score"], evaluation.scores(vae, digits[:64]), rtol=1e-5)
    if kind == "full":
        scale = vae.encode(digits[:64]).scale.to_dense()
        assert np.abs(np.tril(scale, -1)).max() > 1e-4
        np.testing.assert_allclose(encoded.outputs["scale"], scale, atol=1e-5)
    of_8_bits = export.to_tflite(vae, tmp_path / "int8.tflite", "int8", calibration=digits[:512])
    assert {*both("encode", "reconstruct", "score")} <= set(of_8_bits.errors)
    assert of_8_bits.errors["score_64"]["rank correlation of the scores"] >= 0.99
    # The numbers of a covariance are too near to each other for one scale of 8 bits.
    assert any(note.startswith("encode: ") for note in of_8_bits.notes) == (kind == "full")


@pytest.mark.slow
def test_in_8_bits_a_condition_that_is_no_label_is_as_in_the_calibration(tmp_path, digits):
    conditions = digits[:, ::2, ::2]
    given = Image((4, 4, 1))
    vae = kv.VAE(
        kv.Encoder(networks.mlp([16]), posteriors.MultivariateNormalDiag(L), condition=given),
        kv.Decoder(networks.mlp([16]), likelihoods.Bernoulli((8, 8, 1)), condition=given),
        priors.StandardNormal(L),
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(digits[:500], conditions[:500], epochs=2, batch_size=50, verbose=0)
    with pytest.raises(export.ExportError, match=r"does not say which: calibration=\(images, conditions\)"):
        export.to_tflite(vae, tmp_path / "model.tflite", "int8")
    with pytest.raises(export.ExportError, match="too few"):
        export.to_tflite(vae, tmp_path / "model.tflite", "int8", calibration=(digits[:9], conditions[:9]))
    assert not list(tmp_path.iterdir())
    calibration = (digits[:500], conditions[:500])
    for encoder in ("none", "inside"):
        report = export.to_tflite(vae, tmp_path / "m.tflite", "int8", calibration=calibration, encoder=encoder)
        assert ("score_64" in report.errors) == (encoder == "inside")
    z, at = np.random.default_rng(0).normal(size=(64, L)).astype("float32"), slice(600, 664)
    (served,) = fresh.run(report.path, [Call("decode_64", {"z": z, "condition": conditions[at]})]).results
    assert np.abs(served.outputs["mean"] - vae.decode(z, conditions[at]).mean()).max() < 0.1


@pytest.mark.slow
def test_a_scale_that_builtin_ops_cannot_compute_is_left_to_the_saved_model(tmp_path, digits):
    vae = export_models.make(posterior=posteriors.MultivariateNormalEigen(L))
    report = export.to_tflite(vae, tmp_path / "decoder.tflite")
    assert set(report.left_out) == {"score"} and any("encode: without scale" in note for note in report.notes)
    assert "it takes a full matrix apart" in report.left_out["score"] and "SavedModel" in report.left_out["score"]
    served = fresh.run(report.path, [Call("encode_64", {"x": digits[:64]})]).results[0].outputs
    assert set(served) == {"loc"}
    np.testing.assert_allclose(served["loc"], vae.encode(digits[:64]).mean(), atol=1e-5)


# What is refused.


@pytest.mark.parametrize("quantization", ["int4", "INT8", "", "none", 8])
def test_an_unknown_quantization_is_refused(quantization, vae, tmp_path):
    with pytest.raises(export.ExportError, match=r"one of None, 'float16', 'dynamic', 'int8'"):
        export.to_tflite(vae, tmp_path / "decoder.tflite", quantization)
    assert not list(tmp_path.iterdir())


def test_a_small_calibration_set_is_refused(vae, tmp_path):
    with pytest.raises(export.ExportError, match="at least 2048"):
        export.to_tflite(vae, tmp_path / "decoder.tflite", "int8", calibration_size=512)


def test_paths_that_cannot_be_a_file_are_refused(vae, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "export.json").write_text('{"mine": true}')
    for path, message in {
        tmp_path / "folder": "is a folder",
        tmp_path / "file" / "decoder.tflite": "is a file",
        tmp_path / "other" / "decoder.tflite": "belongs to something else",
    }.items():
        with pytest.raises(export.ExportError, match=message):
            export.to_tflite(vae, path)
    assert len(list(tmp_path.rglob("*"))) == 4


AT_ONCE = """
import sys, time
from keras_vae import export
while time.time() < float(sys.argv[3]):
    time.sleep(0.01)
export.to_tflite(sys.argv[1], f"{sys.argv[2]}/{sys.argv[4]}.tflite", sys.argv[4])
"""


@pytest.mark.slow
def test_exports_at_once_all_have_a_record(vae, tmp_path):
    vae.save(tmp_path / "vae.keras")
    out, kinds = tmp_path / "out", ("float16", "dynamic")
    environment = {**os.environ, "PYTHONPATH": str(Path(kv.__file__).parent.parent)}
    arguments = [sys.executable, "-c", AT_ONCE, str(tmp_path / "vae.keras"), str(out), str(time.time() + 15)]
    processes = [subprocess.Popen([*arguments, kind], env=environment) for kind in kinds]
    assert [process.wait(200) for process in processes] == [0, 0]
    record = json.loads((out / "export.json").read_text())
    assert set(record["models"]) == {"float16.tflite", "dynamic.tflite"}
    assert all(export.verify(out / name).ok for name in record["models"])


def test_a_record_is_added_to_what_stands_there_when_it_is_written(tmp_path):
    """Whoever waits for its turn reads what the one before has written."""
    turns = []

    def writes(name):
        with publish.in_turn(tmp_path):
            turns.append(name)
            tflite._record(tmp_path / name, Report(tmp_path / name, "tflite"))
            turns.append(name)

    names = [f"{i}.tflite" for i in range(6)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(writes, names))
    assert sorted(json.loads((tmp_path / "export.json").read_text())["models"]) == names
    assert turns[::2] == turns[1::2] and sorted(turns[::2]) == names


@pytest.mark.slow
def test_a_failed_export_keeps_the_file_that_was_there(tmp_path, vae, monkeypatch):
    (tmp_path / "decoder.tflite").write_text("the old one")
    monkeypatch.setattr(metadata, "write", lambda model, facts: model[: len(model) // 2])
    with pytest.raises(export.VerificationError):
        export.to_tflite(vae, tmp_path / "decoder.tflite")
    assert [path.name for path in tmp_path.iterdir()] == ["decoder.tflite"]
    assert (tmp_path / "decoder.tflite").read_text() == "the old one"


@pytest.mark.slow
def test_a_vector_model_with_an_unbounded_likelihood(tmp_path):
    vae = export_models.make(likelihood=likelihoods.Normal((10,), scale=0.5))
    vae.decoder.output_layer.bias.assign(np.linspace(-40.0, 40.0, 10))
    for quantization in (None, "dynamic"):
        report = export.to_tflite(vae, tmp_path / "decoder.tflite", quantization)
        facts = metadata.read((tmp_path / "decoder.tflite").read_bytes())
        assert facts["value_range"] == [None, None] and facts["event_shape"] == [10]
    result = fresh.run(report.path, [Call("decode_1", {"z": z_of(1)})]).results[0]
    assert result.outputs["mean"].shape == (1, 10)


def test_the_mean_of_a_sharp_logistic_does_not_overflow_on_a_device():
    """TensorFlow Lite computes softplus as log(1 + exp(x)), which is infinite from x = 88.4 on."""
    loc, scale = (a.astype("float32") for a in np.meshgrid(np.linspace(-1, 2, 61), [1e-5, 1e-3, 0.01, 0.1, 1.0, 10.0]))
    a, b = (loc / scale.astype("float64"), (loc - 1) / scale.astype("float64"))
    exact = scale * (np.logaddexp(0, a) - np.logaddexp(0, b))
    np.testing.assert_allclose(clipped_logistic_mean(loc, scale), exact, atol=2e-6)

    answer = on_device(lambda *values: clipped_logistic_mean(*values), loc=loc, scale=scale)
    np.testing.assert_allclose(answer, exact, atol=2e-6)


@pytest.mark.parametrize("bounds", [(1 / 8160, 10.0), (1e-3, 1e3), (0.1, 1.0)])
def test_the_bounds_of_a_scale_do_not_overflow_on_a_device(bounds):
    raw = np.linspace(-40, 40, 801)
    low, high = np.log(bounds)
    with tf.GradientTape() as tape:
        tape.watch(inputs := tf.constant(raw))
        exact = tf.exp(tfb.SoftClip(low, high, hinge_softness=tf.constant(0.1, tf.float64))(inputs))
    slope = tape.gradient(exact, inputs)
    raw = raw.astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(inputs := tf.constant(raw))
        scale = scales.bounded_exp(inputs, Support(*bounds))
    np.testing.assert_allclose(scale, exact, rtol=2e-5)
    np.testing.assert_allclose(tape.gradient(scale, inputs), slope, rtol=1e-4, atol=1e-6 * bounds[1])
    answer = on_device(lambda values: scales.bounded_exp(values, Support(*bounds)), values=raw)
    np.testing.assert_allclose(answer, exact, rtol=2e-5)


def on_device(function, **inputs):
    """What TensorFlow Lite makes of a function of arrays."""
    specs = [tf.TensorSpec(array.shape, tf.float32, name) for name, array in inputs.items()]
    concrete = tf.function(lambda *values: function(*values)).get_concrete_function(*specs)
    interpreter = Interpreter(model_content=tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], next(a for name, a in inputs.items() if name in detail["name"]))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
