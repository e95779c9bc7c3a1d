"""Numbers that a callback sets while `fit` runs: the compiled step sees them, and the file keeps them."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import make_vae

import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors, priors
from keras_vae.schedules import Linear, Weight

X = (np.random.default_rng(0).random((64, 8, 8, 1)) < 0.3).astype("float32")


def make(objective, **options):
    """Made alike, it does not learn: what its loss is follows from the objective alone."""
    keras.utils.set_random_seed(0)
    vae = make_vae(objective=objective, seed=1, sizes=(8,))
    vae.compile(keras.optimizers.SGD(0.0), **options)
    vae.build()
    vae.adapted.assign(1)
    return vae


def losses(vae, change=None, batches=4):
    """The loss of each batch, with numbers set before each of them."""
    found = []

    class Set(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if change is not None:
                change(batch)

        def on_train_batch_end(self, batch, logs=None):
            found.append(float(logs["loss"]) * (batch + 1))

    x = X[: 16 * batches]
    vae.step.assign(0)
    vae.fit(x, batch_size=16, shuffle=False, callbacks=[Set()], verbose=0)
    return np.diff([0.0, *found])


CASES = {
    "ELBO.kl_weight": (lambda v: objectives.ELBO(kl_weight=v), (1.0, 7.0)),
    "ELBO.free_bits": (lambda v: objectives.ELBO(free_bits=v), (0.0, 3.0)),
    "Capacity.capacity": (lambda v: objectives.Capacity(v), (0.0, 9.0)),
    "Capacity.kl_weight": (lambda v: objectives.Capacity(2.0, kl_weight=v), (1.0, 9.0)),
    "DIP.off_diagonal_weight": (lambda v: objectives.DIP(off_diagonal_weight=v, diagonal_weight=1.0), (1.0, 99.0)),
    "DIP.diagonal_weight": (lambda v: objectives.DIP(diagonal_weight=v), (1.0, 99.0)),
    "TotalCorrelation.tc_weight": (lambda v: objectives.TotalCorrelation(64, tc_weight=v), (1.0, 99.0)),
    "TotalCorrelation.information_weight": (lambda v: objectives.TotalCorrelation(64, information_weight=v), (1, 9)),
    "TotalCorrelation.marginal_weight": (lambda v: objectives.TotalCorrelation(64, marginal_weight=v), (1, 9)),
    "MMD.mmd_weight": (lambda v: objectives.MMD(mmd_weight=v), (1.0, 999.0)),
    "MMD.kl_weight": (lambda v: objectives.MMD(kl_weight=v), (0.0, 9.0)),
    "InformationCascade.low": (lambda v: objectives.InformationCascade(low=v, released=4), (0.1, 9.0)),
    "InformationCascade.high": (lambda v: objectives.InformationCascade(high=v), (1.0, 9.0)),
}
OF_EVERY_DAY = ("ELBO.kl_weight", "ELBO.free_bits", "Capacity.capacity")


@pytest.mark.parametrize("case", [c if c in OF_EVERY_DAY else pytest.param(c, marks=pytest.mark.slow) for c in CASES])
def test_the_compiled_step_sees_the_number(case):
    recipe, (first, second) = CASES[case]
    name = case.partition(".")[2]
    vae = make(recipe(first))
    found = losses(vae, lambda batch: setattr(vae.objective, name, first if batch < 2 else second))
    before, after = losses(make(recipe(first))), losses(make(recipe(second)))
    assert np.abs(before - after).min() > 1e-2
    np.testing.assert_allclose(found, [*before[:2], *after[2:]], rtol=1e-4)
    assert getattr(vae.objective, name) == second


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"steps_per_execution": 2}], ids=str)
def test_in_other_modes_from_the_next_call_on(options):
    vae = make(objectives.ELBO(), **options)
    first = vae.fit(X, batch_size=16, shuffle=False, verbose=0).history["loss"]
    vae.objective.kl_weight, _ = 7.0, vae.step.assign(0)
    second = vae.fit(X, batch_size=16, shuffle=False, verbose=0).history["loss"]
    expected = make(objectives.ELBO(7.0)).fit(X, batch_size=16, shuffle=False, verbose=0).history["loss"]
    assert second == pytest.approx(expected, rel=1e-5) and second[0] > first[0] + 1
    assert vae.evaluate(X, verbose=0, return_dict=True)["loss"] > first[0] + 1


@pytest.mark.slow
def test_the_weight_of_factor_vae_and_the_temperature_of_a_relaxed_one_hot():
    def factor(weight):
        keras.utils.set_random_seed(0)
        plain = make_vae(sizes=(8,))
        vae = kv.FactorVAE(
            plain.encoder, plain.decoder, plain.prior, seed=1, tc_weight=weight, discriminator_units=(4,)
        )
        vae.compile(keras.optimizers.SGD(0.0))
        vae.build()
        vae.adapted.assign(1)
        vae.discriminator_optimizer.learning_rate = 0.0
        return vae

    def relaxed(temperature):
        keras.utils.set_random_seed(0)
        vae = kv.VAE(
            kv.Encoder(networks.mlp([8]), posteriors.RelaxedOneHot(4, temperature)),
            kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((8, 8, 1))),
            priors.UniformOneHot(4),
            seed=1,
        )
        vae.compile(keras.optimizers.SGD(0.0))
        vae.build()
        vae.adapted.assign(1)
        return vae

    for make_one, first, second, owner, name in (
        (factor, 1.0, 500.0, lambda vae: vae, "tc_weight"),
        (relaxed, 0.5, 5.0, lambda vae: vae.encoder.posterior, "temperature"),
    ):
        vae = make_one(first)
        before = losses(vae)
        setattr(owner(vae), name, second)
        np.testing.assert_allclose(losses(vae), losses(make_one(second)), rtol=1e-4)
        assert np.abs(losses(vae) - before).max() > 1e-3
        assert getattr(owner(type(vae).from_config(vae.get_config())), name) == second
    with pytest.raises(ValueError, match="temperature must be a positive number"):
        relaxed(1.0).encoder.posterior.temperature = 0


def test_numbers_that_were_set_are_saved_and_copied(tmp_path):
    vae = make(objectives.DIP(off_diagonal_weight=2.0))
    vae.objective.off_diagonal_weight = np.float32(0.5)
    vae.save(tmp_path / "vae.keras")
    objective = keras.saving.load_model(tmp_path / "vae.keras").objective
    assert (objective.off_diagonal_weight, objective.diagonal_weight) == (0.5, 20.0)
    other = copy.deepcopy(vae.objective)
    other.off_diagonal_weight = 9.0  # of nobody's model
    other.num_samples = 3
    assert vae.objective.off_diagonal_weight == 0.5
    assert type(vae.objective.off_diagonal_weight) is float


class Sparse(objectives.Objective):
    """One of a user's own."""

    strength = Weight()

    def __init__(self, strength=1.0, power=2.0):
        self.strength, self.power = strength, power

    def __call__(self, terms, step):
        return self.strength * terms.mean(terms.kl) ** self.power - terms.mean(terms.log_likelihood[0]), {}


def test_one_of_a_users_own():
    vae = make(Sparse())
    before = losses(vae)
    vae.objective.strength = 30.0
    np.testing.assert_allclose(losses(vae), losses(make(Sparse(30.0))), rtol=1e-5)
    assert (losses(vae) > before).all()
    with pytest.raises(AttributeError, match=r"power cannot be changed.*power = schedules\.Weight\(\)"):
        vae.objective.power = 3.0


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda o: setattr(o, "kl_weight", -1), ValueError, "kl_weight must be"),
        (lambda o: setattr(o, "kl_weight", np.nan), ValueError, "kl_weight must be"),
        (lambda o: setattr(o, "kl_weight", None), ValueError, "kl_weight must be"),
        (lambda o: setattr(o, "kl_weight", Linear(3)), AttributeError, "a number stays a number"),
        (lambda o: setattr(o, "num_samples", 3), AttributeError, r"num_samples cannot be changed.*ELBO.num_samples=3"),
        (lambda o: setattr(o, "kl_balancing", True), AttributeError, "kl_balancing cannot be changed"),
    ],
    ids=["negative", "NaN", "None", "schedule", "samples", "balancing"],
)
def test_what_cannot_be_set(change, error, message):
    vae = make(objectives.ELBO())
    with pytest.raises(error, match=message):
        change(vae.objective)
    assert vae.objective.kl_weight == 1.0 and vae.objective.num_samples == 1


def test_schedules_and_the_objective_stay():
    schedule = Linear(10)
    vae = make(objectives.ELBO(schedule))
    with pytest.raises(AttributeError, match=r"Linear\.end cannot be changed"):
        schedule.end = 3.0
    with pytest.raises(AttributeError, match="a schedule that schedule"):
        vae.objective.kl_weight = 0.5
    with pytest.raises(AttributeError, match="objective of a model cannot be replaced"):
        vae.objective = objectives.ELBO()


def test_settings_of_the_model_are_seen_by_the_next_step(tmp_path):
    vae = make(objectives.ELBO())
    before = losses(vae)
    vae.seed = 5
    other = losses(vae)
    assert np.abs(other - before).min() > 1e-6
    vae.seed = 1
    np.testing.assert_array_equal(losses(vae), before)
    # Also within `fit`: from the third batch on every step is too long.
    vae.optimizer.learning_rate = 1e-3
    losses(vae, lambda batch: setattr(vae, "gradient_skip_norm", 1e-6 if batch >= 2 else None))
    assert tf.convert_to_tensor(vae.skip_counts.result()).numpy()[0] == 2
    vae.save(tmp_path / "vae.keras")
    assert keras.saving.load_model(tmp_path / "vae.keras").gradient_skip_norm == 1e-6
