"""What chooses the model: which number of the validation, and which epochs are compared by it."""

import keras
import numpy as np
import parts
import pytest
from sklearn.datasets import load_digits
from small_models import make_vae

import keras_vae as kv
from keras_vae import callbacks, networks, objectives, posteriors, priors, schedules
from keras_vae_cli.commands.train import PatientPlateau, settled_after


def digits(n=600):
    return (load_digits().images[:n, ..., np.newaxis] > 7).astype("float32")


def trained(vae, tmp_path, epochs, rate=3e-3, n=600):
    """The history of a short training with validation, and the callback that kept the best model."""
    x = digits(n)
    keeper = callbacks.Checkpoints(tmp_path / "checkpoints", best=tmp_path / "best.keras", write=lambda line: None)
    vae.compile(keras.optimizers.Adam(rate))
    options = {"batch_size": 50, "epochs": epochs, "verbose": 0, "callbacks": [keeper]}
    history = vae.fit(x[: -n // 3], validation_data=x[-n // 3 :], **options).history
    return history, keeper


@pytest.mark.parametrize(
    ("objective", "monitor"),
    [
        (objectives.ELBO(), "elbo"),
        (objectives.ELBO(kl_weight=schedules.Linear(10)), "elbo"),
        (objectives.ELBO(kl_weight=schedules.Cyclical(10)), "elbo"),
        (objectives.ELBO(kl_weight=keras.optimizers.schedules.PiecewiseConstantDecay([5], [0.1, 1.0])), "elbo"),
        (objectives.ELBO(kl_weight=4.0), "loss"),
        (objectives.ELBO(kl_weight=schedules.Linear(10, end=0.0, start=1.0)), "loss"),
        (objectives.ELBO(free_bits=0.5), "loss"),
        (objectives.Capacity(5.0), "loss"),
        (objectives.JointCapacity(5.0, 1.0), "loss"),
        (objectives.ClusteredELBO(1.0, 1.0), "loss"),
        (objectives.TotalCorrelation(100), "loss"),
        (objectives.DIP(), "loss"),
        (objectives.MMD(), "loss"),
        (objectives.Perceptual(), "loss"),
        (objectives.InformationCascade(), "loss"),
        (objectives.ImportanceWeighted(3), "bound"),
        (objectives.Reconstruction(), "log_likelihood"),
        (objectives.CommittedELBO(), "log_likelihood"),
    ],
)
def test_every_objective_is_chosen_by_what_it_improves(objective, monitor):
    assert objective.monitor == monitor


def test_no_objective_is_left_out_above():
    names = {type(make()).__name__ for make in parts.OBJECTIVES.values()}
    (mark,) = test_every_objective_is_chosen_by_what_it_improves.pytestmark
    assert names <= {type(objective).__name__ for objective, _ in mark.args[1]}


@pytest.mark.slow
def test_a_codebook_that_came_into_use_is_kept_and_not_the_fewer_codes_of_the_best_elbo(tmp_path):
    keras.utils.set_random_seed(0)
    # A prior that soon knows 400 examples by heart, while the codes go on coming into use.
    x = digits(800)
    train, test = x[:400], (x[400:], None)
    vae = kv.VAE(
        kv.Encoder(
            networks.mlp([256, 256]), posteriors.VectorQuantized(128, (4, 4), 64, decay=0.99, revive_below=0.03)
        ),
        kv.Decoder(networks.mlp([256, 256]), kv.likelihoods.Bernoulli((8, 8, 1))),
        priors.AutoregressiveCodes(128, (4, 4), 64, units=256, num_layers=1),
        objectives.CommittedELBO(0.25),
        seed=0,
    )
    keeper = callbacks.Checkpoints(tmp_path / "checkpoints", best=tmp_path / "best.keras", write=lambda line: None)
    vae.compile(keras.optimizers.Adam(1e-3))
    options = {"batch_size": 50, "epochs": 40, "verbose": 0, "callbacks": [keeper]}
    history = vae.fit(train, validation_data=test, **options).history
    elbo, perplexity = np.array(history["val_elbo"]), np.array(history["val_perplexity"])
    by_elbo = elbo.argmax()
    assert by_elbo < 25 and perplexity[by_elbo] < 0.95 * perplexity[-1]
    assert keeper.best_epoch == np.argmax(history["val_log_likelihood"]) > by_elbo
    kept = kv.load(tmp_path / "best.keras")
    kept.compile()
    found = kept.evaluate(*test, return_dict=True, verbose=0)
    assert found["log_likelihood"] == pytest.approx(max(history["val_log_likelihood"]), abs=0.01)
    assert found["log_likelihood"] > history["val_log_likelihood"][by_elbo] + 1.0


def test_losses_of_other_weights_are_not_compared(tmp_path):
    """The loss is least while the capacity is small; the best one is that of the capacity that was asked for."""
    keras.utils.set_random_seed(0)
    capacity = schedules.Linear(40, start=0.0, end=60.0)
    vae = make_vae(objective=objectives.Capacity(capacity, kl_weight=schedules.Linear(40, start=0.0, end=20.0)), seed=0)
    history, keeper = trained(vae, tmp_path, 10)
    loss = np.array(history["val_loss"])
    # 8 steps an epoch: the fifth ends with the last change.
    assert loss.argmin() < 4
    assert keeper.best_epoch == 4 + loss[4:].argmin()


def test_a_callback_that_watches_a_loss_knows_its_direction():
    vae = make_vae(objective=objectives.ELBO(kl_weight=3.0), seed=0)
    vae.compile("adam")
    watch = [keras.callbacks.EarlyStopping(monitor=f"val_{name}") for name in ("loss", "elbo", "kl")]
    vae.fit(digits(50), validation_data=digits(50), epochs=1, verbose=0, callbacks=watch)
    assert [callback.mode for callback in watch] == ["min", "max", "min"]


def test_a_warm_up_does_not_hide_a_better_elbo(tmp_path):
    keras.utils.set_random_seed(0)
    vae = make_vae(objective=objectives.ELBO(kl_weight=schedules.Linear(1000)), seed=0)
    history, keeper = trained(vae, tmp_path, 5)
    assert keeper.best_epoch == np.argmax(history["val_elbo"]) and keeper.best_yardstick == ()


def test_a_weight_that_a_callback_sets_begins_a_new_comparison(tmp_path):
    keras.utils.set_random_seed(0)
    vae = make_vae(objective=objectives.ELBO(kl_weight=0.0), seed=0)
    vae.build()
    keeper = callbacks.Checkpoints(tmp_path / "checkpoints", write=lambda line: None)
    keeper.set_model(vae)
    for weight, loss, is_kept in (
        (0.0, 3.0, True),
        (0.0, 4.0, False),
        (2.0, 5.0, True),
        (2.0, 4.5, True),
        (2.0, 4.6, False),
    ):
        vae.objective.kl_weight = weight
        keeper._epoch += 1
        keeper.on_test_end({"loss": loss, "elbo": -loss})
        assert (keeper.best_epoch == keeper._epoch) == is_kept
    assert (keeper.best_value, keeper.best_yardstick) == (4.5, (0.0, 2.0))


def test_of_a_factor_vae_the_last_model_counts(tmp_path):
    vae = parts.VAES["factor"]()
    keeper = callbacks.Checkpoints(tmp_path / "checkpoints", write=lambda line: None)
    vae.compile("adam")
    x = parts.data(vae.decoder.likelihood)
    vae.fit(x, validation_data=x, epochs=3, verbose=0, callbacks=[keeper])
    assert vae.monitor == "loss" and keeper.best_epoch == 2


def test_what_was_compared_by_is_resumed(tmp_path):
    def keep(epochs):
        keras.utils.set_random_seed(0)
        vae = make_vae(objective=objectives.ELBO(kl_weight=3.0), seed=0)
        return trained(vae, tmp_path, epochs)[1]

    first, second = keep(2), keep(4)
    assert first.best_yardstick == second.best_yardstick == (0.0, 3.0)
    assert second.best_value < first.best_value


@pytest.mark.parametrize(
    ("objective", "settled"),
    [
        (lambda: objectives.ELBO(kl_weight=4.0), 0),
        (lambda: objectives.ELBO(kl_weight=schedules.Linear(25)), 3),
        (lambda: objectives.Capacity(schedules.Linear(40)), 4),
        (lambda: objectives.ELBO(kl_weight=schedules.Linear(1000)), 0),
        (lambda: objectives.InformationCascade(stage=20), 6),
    ],
)
def test_patience_begins_when_the_weights_have_come_to_their_end(objective, settled):
    assert settled_after(make_vae(objective=objective()), epochs=20, steps=10) == settled


def test_a_plateau_is_watched_from_an_epoch_on():
    vae = make_vae()
    vae.compile(keras.optimizers.Adam(1.0))
    plateau = PatientPlateau(monitor="val_loss", mode="min", patience=2, factor=0.5, start_from_epoch=4)
    plateau.set_model(vae)
    plateau.on_train_begin()
    rates = []
    # It rises while weights change, and stands still from the fifth on.
    for epoch, loss in enumerate([1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 5.0, 4.0]):
        plateau.on_epoch_end(epoch, {"val_loss": loss})
        rates.append(float(vae.optimizer.learning_rate))
    assert rates == [1.0] * 6 + [0.5] * 2
