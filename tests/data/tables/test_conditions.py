"""Columns of numbers as conditions: what is drawn given them, against the law of the table."""

import keras
import numpy as np
import pytest
from scipy import stats

import keras_vae as kv
from keras_vae import conditions, data, likelihoods, networks, posteriors, priors
from keras_vae.data.tables import frames

SCHEMA = {"x": "real", "y": "real"}
SIGMA = 3.0
OF_ALL = {
    "age": "real",
    "income": "positive",
    "visits": "count",
    "member": "binary",
    "colour": {"category": ["a", "b"]},
}


def rows(n):
    """x ~ N(50, 10), y = 2 x + N(0, 3)."""
    rng = np.random.default_rng(0)
    x = rng.normal(50.0, 10.0, n)
    return np.stack([x, 2.0 * x + rng.normal(0.0, SIGMA, n)], axis=1).astype("float32")


def model(train):
    condition = conditions.TableColumns.of(train)
    return kv.VAE(
        kv.Encoder(networks.mlp([16]), posteriors.MultivariateNormalDiag(1), condition),
        kv.Decoder(networks.mlp([16]), likelihoods.Mixed(train.schema), condition),
        priors.StandardNormal(1),
        seed=0,
    )


@pytest.mark.slow
def test_draws_given_a_number_have_the_mean_and_the_spread_of_the_law(tmp_path):
    train, test = data.load(frames.frame(rows(3000), SCHEMA), condition=["x"], schema=SCHEMA, batch_size=100)
    assert train.schema == {"y": "real"}
    keras.utils.set_random_seed(0)
    vae = model(train)
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 1000)))
    vae.fit(train, epochs=40, verbose=0)
    for value in (35.0, 50.0, 65.0):
        drawn = vae.sample(4000, seed=1, noise=True, condition={"x": value})[:, 0]
        assert drawn.mean() == pytest.approx(2.0 * value, abs=0.5)
        assert drawn.std() == pytest.approx(SIGMA, rel=0.1)
    # log p(y|x) is the density of the noise; of the truth that is -2.52 nats in the mean.
    x, y = (np.concatenate([np.asarray(batch[at]) for batch in test]) for at in (1, 0))
    expected = stats.norm(2.0 * x[:, 0], SIGMA).logpdf(y[:, 0])
    found = vae.log_prob(y, num_samples=200, condition=x)
    assert found.mean() == pytest.approx(expected.mean(), abs=0.05)
    vae.save(tmp_path / "vae.keras")
    again = keras.saving.load_model(tmp_path / "vae.keras")
    given = {"x": 40.0}
    np.testing.assert_array_equal(*(m.sample(5, seed=2, noise=True, condition=given) for m in (vae, again)))


def test_a_network_sees_columns_standardised_and_categories_one_hot():
    condition = conditions.TableColumns(OF_ALL, place=[10.0, 1.0, 0.5, 0.0, 0.0], scale=[2.0, 0.5, 4.0, 1.0, 1.0])
    values = condition.numbers([{"age": 14, "income": np.e**2, "visits": 0, "member": True, "colour": "b"}])
    found = np.asarray(condition.features(values))
    assert found == pytest.approx(np.array([[2.0, 2.0, -0.125, 1.0, 0.0, 1.0]]), rel=1e-5)
    assert condition.features_shape == (6,)
    condition.check(condition.zeros(3))
    assert conditions.TableColumns.from_config(condition.get_config()) == condition


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": 3}, "no column 'size'"),
        ({"age": None}, "Column 'age' is a condition, and has no value"),
        ({"age": np.nan}, "Column 'age'"),
        ({"age": "old"}, "Column 'age' is real, and 'old' is no number"),
        ({"income": 0}, "Column 'income' is positive, and holds 0"),
        ({"visits": 1.5}, "Column 'visits' is count, and holds 1.5"),
        ({"colour": "red"}, r"Column 'colour' holds one of \['a', 'b'\], not 'red'"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_the_name_of_its_column(changed, message):
    condition = conditions.TableColumns(OF_ALL)
    values = {"age": 1.0, "income": 2.0, "visits": 3, "member": 0, "colour": "a"} | changed
    with pytest.raises(ValueError, match=message):
        conditions.given(condition, values, 2)


def test_rows_without_a_value_in_a_condition_are_refused():
    x = rows(100)
    x[3, 0] = np.nan
    with pytest.raises(ValueError, match="Column 'x' is a condition, and has cells without a value"):
        data.load(frames.frame(x, SCHEMA), condition=["x"], schema=SCHEMA, missing=True)
