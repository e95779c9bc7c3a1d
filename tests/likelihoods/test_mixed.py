"""Rows of a table: each column against scipy, in the units of the data, in models that are saved and exported."""

import keras
import numpy as np
import parts
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from scipy import special, stats

import keras_vae as kv
from keras_vae import evaluation, export, likelihoods, networks, posteriors, priors
from keras_vae.data.tables.schema import fields
from keras_vae.export.proof import battery
from keras_vae.likelihoods.columns import Columns

KINDS = [field.kind for field in fields(parts.SCHEMA)]


def model(missing=False, schema=None, **options):
    vae = kv.VAE(
        kv.Encoder(networks.mlp([16]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([16]), likelihoods.Mixed(schema or parts.SCHEMA)),
        priors.StandardNormal(2),
        seed=1,
        missing=missing,
        **options,
    )
    vae.compile(keras.optimizers.Adam(5e-3))
    return vae


@pytest.fixture(scope="module")
def trained():
    vae = model()
    vae.fit(parts.rows(256), epochs=3, batch_size=32, verbose=0)
    return vae


def adapted(x):
    likelihood = likelihoods.Mixed(parts.SCHEMA)
    likelihood.adapt_to(x)
    return likelihood


def test_each_column_has_the_density_that_scipy_gives_it():
    x, rng = parts.rows(50), np.random.default_rng(3)
    likelihood = adapted(x)
    params = rng.normal(size=(50, 12)).astype("float32")
    # Within its bounds the clip of a scale is the identity.
    params[:, [1, 6, 11]] = np.clip(params[:, [1, 6, 11]], -2.0, 0.3)
    p = params.astype("float64")
    place, scale = (np.asarray(weight, "float64") for weight in (likelihood.place, likelihood.scale))
    logs = [x[:, 0], np.log(x[:, 2]), np.log1p(x[:, 3]), x[:, 5]]
    np.testing.assert_allclose(place[[0, 2, 3, 5]], [values.mean() for values in logs], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scale[[0, 2, 3, 5]], [values.std() for values in logs], rtol=1e-4)
    failures, mean = np.exp(p[:, 8]), np.exp(place[3] + scale[3] * p[:, 7])
    of_income = stats.norm(place[2] + scale[2] * p[:, 5], scale[2] * np.exp(p[:, 6]))
    expected = [
        stats.norm(place[0] + scale[0] * p[:, 0], scale[0] * np.exp(p[:, 1])).logpdf(x[:, 0]),
        special.log_softmax(p[:, 2:5], axis=1)[np.arange(50), x[:, 1].astype(int)],
        of_income.logpdf(np.log(x[:, 2])) - np.log(x[:, 2]),
        stats.nbinom(failures, failures / (failures + mean)).logpmf(x[:, 3]),
        stats.bernoulli(special.expit(p[:, 9])).logpmf(x[:, 4]),
        stats.norm(place[5] + scale[5] * p[:, 10], scale[5] * np.exp(p[:, 11])).logpdf(x[:, 5]),
    ]
    found = likelihood(params)
    np.testing.assert_allclose(found.log_probs(x), np.transpose(expected), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found.log_prob(x), np.sum(expected, axis=0), rtol=2e-3)
    holes = x.copy()
    holes[:, [0, 1, 3]] = np.nan
    there = Columns(params, likelihood.place, likelihood.scale, likelihood.fields, missing=True).log_prob(holes)
    np.testing.assert_allclose(there, expected[2] + expected[4] + expected[5], rtol=2e-3, atol=2e-3)


def test_draws_have_the_means_and_lie_where_their_columns_do():
    likelihood = adapted(parts.rows(200))
    params = 0.3 * np.random.default_rng(0).normal(size=(1, 12)).astype("float32")
    p = likelihood(params)
    x = p.sample(20_000, seed=[1, 2]).numpy()[:, 0]
    likelihood.check(x)
    mean, spread = p.mean().numpy()[0], x.std(axis=0)
    numbers = [at for at, kind in enumerate(KINDS) if kind != "category"]
    np.testing.assert_array_less(np.abs(x.mean(axis=0) - mean)[numbers], 5.0 * spread[numbers] / np.sqrt(len(x)))
    assert mean[1] == np.bincount(x[:, 1].astype(int)).argmax()


def test_more_rows_than_are_decoded_at_once_are_drawn(trained):
    x = trained.sample(5000, seed=0, noise=True)
    assert x.shape == (5000, 6)
    trained.decoder.likelihood.check(x)


def test_log_p_is_in_the_units_of_the_data():
    x = parts.rows(200)
    larger = x * np.array([1000, 1, 1000, 1, 1, 1], "float32")
    params = np.random.default_rng(0).normal(size=(200, 12)).astype("float32")
    before, after = (adapted(rows)(params).log_probs(rows).numpy() for rows in (x, larger))
    np.testing.assert_allclose(before - after, np.log([[1000, 1, 1000, 1, 1, 1]]) * np.ones((200, 1)), atol=5e-3)


@pytest.mark.parametrize("missing", [False, True])
def test_a_model_learns_and_comes_back_from_its_file(missing, tmp_path):
    x = parts.rows(256)
    if missing:
        x[np.random.default_rng(0).random(x.shape) < 0.2] = np.nan
    vae = model(missing)
    vae.fit(x, epochs=6, batch_size=32, verbose=0)
    before, after = (vae.history.history["elbo"][k] for k in (0, -1))
    assert after > before + 0.5
    vae.save(tmp_path / "vae.keras")
    again = keras.saving.load_model(tmp_path / "vae.keras")
    for given in (x[:8], parts.rows(8, seed=3)):
        np.testing.assert_array_equal(again.encode(given).mean(), vae.encode(given).mean())
        np.testing.assert_array_equal(again.log_prob(given, seed=0), vae.log_prob(given, seed=0))
    if missing:
        drawn = vae.impute(x[:8], 3)
        vae.decoder.likelihood.check(drawn.reshape(-1, 6))
        is_there = ~np.isnan(x[:8])
        np.testing.assert_array_equal(drawn[:, is_there], np.tile(x[:8][is_there], (3, 1)))


def test_the_encoder_alone_keeps_what_it_sees_the_data_through(trained, tmp_path):
    x = parts.rows(4)
    seen = np.asarray(trained.encoder.seen(x))
    assert seen.shape == (4, 8)
    np.testing.assert_array_equal(seen[:, 1:4], np.eye(3)[x[:, 1].astype(int)])
    assert np.abs(seen[:, [0, 4, 5, 7]]).max() < 4.0
    trained.encoder.save(tmp_path / "encoder.keras")
    again = keras.saving.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(again(x).mean(), trained.encoder(x).mean())
    features = trained.encoder.features_model(layer="codes")
    np.testing.assert_allclose(features.predict(x, verbose=0), trained.encoder(x).mean(), atol=1e-5)


def test_an_outlier_is_far_out_and_nothing_more(trained):
    x = parts.rows(2)
    x[0, 0], x[1, 3] = 1e12, 1e12
    assert np.isfinite(trained.encode(x).mean()).all()
    assert np.isfinite(trained.log_prob(x, num_samples=10)).all()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (1, 3.0, "From example 2 on: Column 'colour' is one of 3 categories, by the numbers 0 to 2, and holds 3"),
        (1, 0.5, "Column 'colour'"),
        (2, 0.0, "Column 'income' is of numbers above 0, and holds 0"),
        (3, -1.0, "Column 'visits' is of counts, 0, 1, 2, ..., and holds -1"),
        (3, 1.5, "Column 'visits'"),
        (4, 2.0, "Column 'member' is binary, 0 or 1, and holds 2"),
    ],
)
def test_values_that_are_none_of_their_column_are_refused_by_its_name(trained, column, value, message):
    x = parts.rows(8)
    x[2:, column] = value
    for method in (trained.log_prob, trained.fit):
        with pytest.raises(ValueError, match=message.replace("...", r"\.\.\.")):
            method(x)


def test_columns_of_nothing_and_of_one_value_do_no_harm():
    x = parts.rows(64)
    x[:, 0], x[:, 3], x[:, 2] = 7.0, 0.0, np.nan
    vae = model(missing=True)
    vae.fit(x, epochs=2, batch_size=32, verbose=0)
    assert np.isfinite(vae.history.history["elbo"]).all()
    assert np.isfinite(vae.sample(8, noise=True)).all()


@pytest.mark.slow
def test_exports_give_what_the_model_gives(trained, tmp_path):
    x = parts.rows(8)
    export.to_saved_model(trained, tmp_path / "saved")
    served = tf.saved_model.load(str(tmp_path / "saved" / "1")).signatures["encode"]
    found = served(**{next(iter(served.structured_input_signature[1])): tf.constant(x)})
    mean = np.asarray(trained.encode(x).mean())
    assert any(value.shape == mean.shape and np.allclose(value, mean, atol=1e-4) for value in found.values())
    saved = tf.saved_model.load(str(tmp_path / "saved" / "1")).signatures
    np.testing.assert_allclose(saved["score"](x=tf.constant(x))["score"], evaluation.scores(trained, x), rtol=1e-4)
    z = mean.astype("float32")
    found = saved["log_likelihood"](z=tf.constant(z), x=tf.constant(x))["log_likelihood"]
    np.testing.assert_allclose(found, trained.decode(z).log_prob(x), rtol=1e-4)
    at = list(parts.SCHEMA).index("income")
    x[0, at], x[1, at] = 0.0, -1.0
    found = saved["score"](x=tf.constant(x))["score"].numpy()
    assert found[0] < found[2:].min() and np.isnan(found[1]) and np.isfinite(found[2:]).all()
    export.to_tflite(trained, tmp_path / "vae.tflite")


@pytest.mark.slow
@pytest.mark.parametrize("missing", [False, True])
def test_a_file_of_8_bits_gives_what_the_model_gives_in_the_units_of_each_column(missing, tmp_path):
    """A count has a branch of log 0 that is not taken, and ranges without end; a column of thousands hides no other."""
    x = parts.rows(320)
    if missing:
        x[:64][np.random.default_rng(0).random((64, 6)) < 0.3] = np.nan
    vae = model(missing)
    vae.fit(x, epochs=6, batch_size=32, verbose=0)
    report = export.to_tflite(vae, tmp_path / "vae.tflite", "int8", calibration=x)
    assert report.ok and ("encode" in report.left_out) == missing
    interpreter = Interpreter(str(tmp_path / "vae.tflite"))
    z = np.random.default_rng(1).normal(size=(64, 2)).astype("float32")
    found, mean = interpreter.get_signature_runner("decode_64")(z=z)["mean"], np.asarray(vae.decode(z).mean())
    numbers = [at for at, kind in enumerate(KINDS) if kind != "category"]
    errors = np.abs(found - mean)[:, numbers] / np.abs(mean).max(axis=0)[numbers]
    assert errors.mean(axis=0).max() < 0.03
    assert (found[:, 1] == mean[:, 1]).mean() >= 0.9
    # A maximum inside of a count's log p was given its inputs in 8 bits, and each score was minus infinity.
    assert report.errors["score_64"]["rank correlation of the scores"] >= 0.99
    score = interpreter.get_signature_runner("score_64")(x=x[:64])["score"]
    assert np.abs(score - evaluation.scores(vae, x[:64])).mean() < (1e-3 if missing else 0.3)
    assert any(note.startswith("score: in float32") for note in report.notes) == missing
    export.verify(tmp_path / "vae.tflite")


@pytest.mark.slow
def test_a_file_of_float16_has_scores_of_numbers_that_float16_does_not_hold(tmp_path):
    rng = np.random.default_rng(0)
    x = np.exp(rng.normal([12.0, 0.0], 1.0, (300, 2))).astype("float32")
    x[:, 1] = rng.normal(size=300)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([16]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([16]), likelihoods.Mixed({"income": "positive", "age": "real"})),
        priors.StandardNormal(2),
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(x, epochs=2, batch_size=50, verbose=0)
    assert (x > 65504).any()
    assert export.to_tflite(vae, tmp_path / "vae.tflite", "float16").left_out == {}
    run = Interpreter(str(tmp_path / "vae.tflite")).get_signature_runner("score_64")
    score, expected = run(x=x[:64])["score"], evaluation.scores(vae, x[:64])
    assert np.abs(score - expected).max() < 0.05
    x[3, 0] = np.inf
    assert np.isnan(run(x=x[:64])["score"][3])


def test_a_category_that_is_as_likely_may_be_given_in_place_of_the_likeliest():
    vae = model()
    p = vae.decode(np.zeros((3, 2), "float32"))
    likely = p.nearly_likeliest(0.8).numpy()
    assert likely.shape == (3, 6, 3) and not likely[:, [0, 2, 3, 4, 5]].any()
    columns = dict(zip((tuple(piece.columns) for piece in p.pieces()), p.pieces(), strict=True))
    probabilities = columns[(1,)].distribution.probs_parameter().numpy()[:, 0]
    np.testing.assert_array_equal(likely[:, 1], probabilities >= 0.8 * probabilities.max(axis=1, keepdims=True))
    units, expected = np.array([1.0, np.nan]), np.tile(np.array([[0.0, 2.0]], "float32"), (20, 1))
    served, allowed = expected.copy(), np.zeros((20, 2, 3), bool)
    served[:, 1], allowed[:, 1, 1:] = 1.0, True
    table = battery.Rows(units, {"decode_64": allowed})
    compared = {"served": {"mean": served}, "expected": {"mean": expected}, "table": table}
    assert battery.errors(**compared, signature="decode_64") == (0.0, 0.0)
    assert battery.errors(**compared, signature="reconstruct_64")[0] == np.inf
    served[:, 1] = 0.0
    assert battery.errors(**compared, signature="decode_64")[0] == np.inf


def test_errors_of_rows_are_in_the_units_of_their_columns():
    units = np.array([1000.0, np.nan, 0.1])
    expected = np.tile(np.array([[900.0, 2.0, 0.05]], "float32"), (20, 1))
    served = expected + np.array([[1.0, 0.0, 0.01]], "float32")
    assert battery.errors({"mean": served}, {"mean": expected}, table=battery.Rows(units, {})) == pytest.approx(
        (0.1, 0.0505), rel=1e-3
    )
    served[:2, 1] = 1.0
    assert battery.errors({"mean": served}, {"mean": expected}, table=battery.Rows(units, {}))[0] == pytest.approx(
        0.1, rel=1e-3
    )
    served[:3, 1] = 1.0
    assert battery.errors({"mean": served}, {"mean": expected}, table=battery.Rows(units, {}))[0] == np.inf
