"""VAEGAN: three losses for three sets of weights, the guard, and what a user meets."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import parts
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

import keras_vae as kv
from keras_vae import evaluation, likelihoods, networks, objectives, posteriors, priors, seeds
from keras_vae.evaluation.findings.game import spread_of_samples
from keras_vae.models.adversarial import discriminator, game
from keras_vae.models.adversarial.game import Costs

RNG = np.random.default_rng(0)
SHAPE = (6, 5, 2)
X = RNG.random((24, *SHAPE)).astype("float32")


def own_discriminator():
    """Without normalisation, so that a pass changes nothing."""
    layers = [
        keras.layers.Input(SHAPE),
        keras.layers.Flatten(),
        keras.layers.Dense(7, "tanh", name="seen"),
        keras.layers.Dense(3, "tanh"),
        keras.layers.Dense(1),
    ]
    return keras.Sequential(layers)


def make(objective=None, eager=True, **options):
    """A few steps are faster than their tracing."""
    keras.utils.set_random_seed(0)
    vae = parts.vae(kv.VAEGAN, **{"filters": (4, 4), "objective": objective, **options})
    vae.compile(keras.optimizers.Adam(1e-3), run_eagerly=eager)
    return vae


def arrays(variables):
    return [keras.ops.convert_to_numpy(v).copy() for v in variables]


def same(a, b):
    return [bool(np.array_equal(x, y)) for x, y in zip(a, b, strict=True)]


# --- The formulas.


def test_costs_by_hand():
    logits = tf.constant([[2.0], [-0.5], [0.0]])
    d = 1 / (1 + np.exp(-np.array([2.0, -0.5, 0.0])))
    np.testing.assert_allclose(game.cost_of_real("cross_entropy", logits), -np.log(d), rtol=1e-5)
    np.testing.assert_allclose(game.cost_of_made("cross_entropy", logits), -np.log(1 - d), rtol=1e-5)
    np.testing.assert_allclose(game.cost_of_maker("cross_entropy", logits), -np.log(d), rtol=1e-5)
    np.testing.assert_allclose(game.cost_of_real("hinge", logits), [0.0, 1.5, 1.0])
    np.testing.assert_allclose(game.cost_of_made("hinge", logits), [3.0, 0.5, 1.0])
    np.testing.assert_allclose(game.cost_of_maker("hinge", logits), [-2.0, 0.5, 0.0])
    # Of patches the mean over the places of each picture.
    patches = tf.reshape(tf.constant([2.0, -0.5, 0.0, 4.0]), [1, 2, 2, 1])
    np.testing.assert_allclose(game.cost_of_real("hinge", patches), [(0.0 + 1.5 + 1.0 + 0.0) / 4])


def test_distances_of_several_draws_are_to_the_example_of_each():
    a, b = RNG.random((3, 4)).astype("float32"), RNG.random((6, 4)).astype("float32")
    expected = [0.5 * np.sum((a[i % 3] - b[i]) ** 2) for i in range(6)]
    np.testing.assert_allclose(game.squared_distance(tf.constant(a), tf.constant(b)), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("real", "made", "decoder", "judge"),
    [
        (0.68, 0.68, True, True),
        (0.32, 0.70, True, False),  # it knows data too well
        (0.70, 0.32, True, False),
        (1.04, 0.70, False, True),  # it takes data for made
        (0.70, 1.04, False, True),
        (1.04, 0.32, True, True),  # both should wait: both learn
        (0.34, 1.02, True, True),
    ],
)
def test_the_side_that_is_ahead_waits(real, made, decoder, judge):
    found = game.who_learns(Costs(tf.constant(real), tf.constant(made)), 0.68, 0.35)
    assert [bool(side) for side in found] == [decoder, judge]
    without = game.who_learns(Costs(tf.constant(real), tf.constant(made)), 0.68, None)
    assert [bool(side) for side in without] == [True, True]


def test_the_adaptive_weight_by_its_formula():
    r, a = tf.constant([[3.0, 0.0], [0.0, 4.0]]), tf.constant([[0.0, 0.5], [0.0, 0.0]])
    assert float(game.adaptive_weight(r, a, 10)) == pytest.approx(5.0 / (0.5 + 1e-4))
    assert float(game.adaptive_weight(1e6 * r, 0.0 * a, 10)) == 1e5


MIXED = {"pixel_weight": 0.7, "similarity_weight": 3.0, "decoder_weight": 0.4, "adversarial_weight": 5.0}
# As in the paper: no pixels, and what the decoder learns from data weighs little beside the game.
LARSEN = {"pixel_weight": 0.0, "similarity_weight": 1.0, "decoder_weight": 0.01, "adversarial_weight": 1.0}


@pytest.mark.parametrize("weights", [MIXED, LARSEN], ids=["mixed", "larsen"])
@pytest.mark.parametrize("kind", ["cross_entropy", "hinge"])
@pytest.mark.parametrize("through_encoder", [False, True])
def test_each_loss_reaches_its_own_weights_and_no_others(kind, through_encoder, weights):
    """Against gradients of the formulas, each taken by itself."""
    judge, w = own_discriminator(), weights
    options = {"similarity_layer": "seen", "adaptive": False, "loss": kind, "through_encoder": through_encoder}
    vae = make(discriminator=judge, prior="mixture", **options, **w)
    seed, variables = seeds.as_pair(3), vae.trainable_variables
    taken = vae.differentiate(tf.constant(X), None, None, seed, variables)
    seen = keras.Model(judge.inputs[0], judge.get_layer("seen").output)

    def log_sigmoid(d):
        return tf.math.log(tf.sigmoid(d))

    with tf.GradientTape(persistent=True) as tape:
        terms = vae.infer(X, 1, seeds.fold_in(seed, 0), training=True)
        made = terms.likelihood.mean()[0]
        z = vae.prior.distribution().sample(len(X), seed=seeds.fold_in(seed, 0x676E, 0))
        drawn = vae.decoder(tf.stop_gradient(z)).mean()
        variance = np.mean(np.var(np.asarray(seen(X)), axis=0))
        distance = tf.reduce_sum((seen(X) - seen(made)) ** 2, axis=1) / (2 * variance)
        r = w["pixel_weight"] * terms.log_likelihood[0] - w["similarity_weight"] * distance
        loss = tf.reduce_mean(terms.kl - r)
        real, a, b = judge(X), judge(made), judge(drawn)
        if kind == "hinge":
            judging = tf.nn.relu(1 - real) + (tf.nn.relu(1 + a) + tf.nn.relu(1 + b)) / 2
            game_term = -(tf.reduce_mean(a) + tf.reduce_mean(b)) / 2
        else:
            judging = -log_sigmoid(real) - (log_sigmoid(-a) + log_sigmoid(-b)) / 2
            game_term = -(tf.reduce_mean(log_sigmoid(a)) + tf.reduce_mean(log_sigmoid(b))) / 2
        judging = tf.reduce_mean(judging) / 2
    decoder = {id(v) for v in vae.decoder.trainable_variables}
    encoder = {id(v) for v in vae.encoder.trainable_variables}
    reached = set()
    for variable, found in zip(variables, taken.gradients, strict=True):
        expected = tf.convert_to_tensor(tape.gradient(loss, variable))
        of_game = tape.gradient(game_term, variable)
        of_game = np.zeros(variable.shape, "float32") if of_game is None else of_game
        if id(variable) in decoder:
            expected = w["decoder_weight"] * expected + w["adversarial_weight"] * of_game
        elif id(variable) in encoder and through_encoder:
            expected += w["adversarial_weight"] * of_game
        reached.add("decoder" if id(variable) in decoder else "encoder" if id(variable) in encoder else "prior")
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4, err_msg=variable.path)
        # Only log p(x|z) knows of a scale.
        assert np.abs(found).max() > 0 or (variable.shape == () and not w["pixel_weight"])
    assert reached == {"encoder", "decoder", "prior"}
    ids = {id(v) for v in variables}
    for variable, found in zip(judge.trainable_variables, taken.discriminator_gradients, strict=True):
        np.testing.assert_allclose(found, tape.gradient(judging, variable), rtol=1e-3, atol=1e-6)
        assert id(variable) not in ids
    assert float(taken.loss) == pytest.approx(float(loss), rel=1e-5)
    assert float(taken.numbers["discriminator_loss"]) == pytest.approx(float(judging), rel=1e-5)


def test_with_the_adaptive_weight_both_terms_pull_alike_at_the_last_layer():
    judge, found = own_discriminator(), {}
    for name, options in {"without": {"adversarial_weight": 0.0}, "with": {"adversarial_weight": 1.0}}.items():
        vae = make(discriminator=judge, similarity_layer="seen", **options)
        variables = vae.trainable_variables
        taken = vae.differentiate(tf.constant(X), None, None, seeds.as_pair(3), variables)
        (index,) = [i for i, v in enumerate(variables) if v is vae.decoder.output_layer.kernel]
        found[name] = np.asarray(taken.gradients[index])
    pull = found["with"] - found["without"]
    assert np.linalg.norm(pull) == pytest.approx(np.linalg.norm(found["without"]), rel=0.05)
    assert float(taken.numbers["adversarial_weight"]) > 1.0


def test_r1_is_half_the_squared_gradient_at_the_data():
    judge, found = own_discriminator(), {}
    for weight in (0.0, 2.0):
        vae = make(discriminator=judge, similarity_weight=0.0, r1_weight=weight)
        found[weight] = vae.differentiate(tf.constant(X), None, None, seeds.as_pair(3), vae.trainable_variables)
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as inner:
            x = tf.constant(X)
            inner.watch(x)
            total = tf.reduce_sum(judge(x))
        penalty = 2.0 / 2 * tf.reduce_mean(tf.reduce_sum(inner.gradient(total, x) ** 2, axis=(1, 2, 3)))
    gradients = zip(found[0.0].discriminator_gradients, found[2.0].discriminator_gradients, strict=True)
    for variable, (without, with_it) in zip(judge.trainable_variables, gradients, strict=True):
        expected = outer.gradient(penalty, variable)
        expected = 0.0 if expected is None else expected
        np.testing.assert_allclose(with_it - without, expected, rtol=1e-3, atol=1e-5)


# --- Who learns in a step.


def weights_of(vae):
    moments = [v for v in vae.optimizer.variables if "decoder" in v.path]
    return {
        "encoder": arrays(vae.encoder.trainable_variables),
        "decoder": arrays(vae.decoder.trainable_variables),
        "moments": arrays(moments),
        "judge": arrays([*vae.discriminator.trainable_variables, *vae.discriminator_state]),
    }


def moved(vae):
    before = weights_of(vae)
    vae.train_on_batch(X)
    return {name: not all(same(values, before[name])) for name, values in weights_of(vae).items()}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"margin": 0.6}, {"decoder": True, "judge": True}),
        ({"equilibrium": 50.0}, {"decoder": True, "judge": False}),
        ({"equilibrium": 0.01, "margin": 0.001}, {"decoder": False, "judge": True}),
        ({"equilibrium": 0.01, "margin": 0.001, "start": 9}, {"decoder": True, "judge": True}),
        ({"start": 9, "similarity_weight": 0.0}, {"decoder": True, "judge": False}),
        ({"equilibrium": 50.0, "margin": None, "patience": None}, {"decoder": True, "judge": True}),
    ],
)
def test_who_waits_stays_as_it_was(options, expected):
    defaults = {"discriminator": own_discriminator(), "similarity_layer": "seen", "patience": None}
    vae = make(**{**defaults, **options})
    vae.train_on_batch(X)
    found = moved(vae)
    assert found == {**expected, "encoder": True, "moments": expected["decoder"]}


def test_a_skipped_step_leaves_all_three_alone():
    vae = make(gradient_skip_norm=1e-9)
    vae.train_on_batch(X)
    before = arrays(vae.weights)
    vae.train_on_batch(X)
    kept = zip(vae.weights, same(arrays(vae.weights), before), strict=True)
    changed = {v.path.rpartition("/")[2] for v, is_same in kept if not is_same}
    assert changed <= {"step", "counts"}


def test_a_discriminator_that_has_won_is_drawn_anew():
    vae = make(equilibrium=1e3, margin=None, patience=3)
    before = arrays(vae.discriminator.trainable_variables)
    for _ in range(2):
        vae.train_on_batch(X)
    assert int(vae.discriminator_optimizer.iterations) == 2
    logs = vae.train_on_batch(X, return_dict=True)
    assert logs["discriminator_resets"] == 1 and int(vae.discriminator_optimizer.iterations) == 0
    for kernel, old in zip(vae.discriminator.trainable_variables, before, strict=True):
        if len(kernel.shape) > 1:
            new = keras.ops.convert_to_numpy(kernel)
            assert abs(np.corrcoef(new.ravel(), old.ravel())[0, 1]) < 0.5
            assert new.std() == pytest.approx(1 / math.sqrt(np.prod(new.shape[:-1])), rel=0.4)
    # It goes on, and normalises what was drawn.
    assert np.isfinite(vae.train_on_batch(X)).all()


@pytest.mark.slow
def test_a_training_that_the_discriminator_has_won_recovers():
    """Too large, too fast and never waiting, it wins; the remedy of the diagnosis gives the game back."""
    images = (load_digits().images / 16.0)[..., None].astype("float32")
    train, test = images[:1300], images[1300:]
    layers = [keras.layers.Flatten(), keras.layers.Dense(512, "relu"), keras.layers.Dense(512, "relu")]
    judge = keras.Sequential([keras.layers.Input((8, 8, 1)), *layers, keras.layers.Dense(1)])
    together = (
        kv.Encoder(networks.mlp([64]), posteriors.MultivariateNormalDiag(8)),
        kv.Decoder(networks.mlp([64, 64]), likelihoods.Normal((8, 8, 1))),
        priors.StandardNormal(8),
        judge,
    )

    def played(**options):
        game = kv.VAEGAN(*together, seed=0, discriminator_learning_rate=0.003, margin=None, **options)
        game.compile(keras.optimizers.Adam(1e-3))
        history = game.fit(train, batch_size=100, epochs=16, verbose=0).history
        names = {finding.name: finding.remedy for finding in evaluation.diagnose(game, test, history)}
        kid = evaluation.kid(test, np.clip(game.sample(len(test), seed=0), 0, 1)).value
        return names, spread_of_samples(game, test), kid

    names, narrow, far = played(patience=None)
    assert "r1_weight=1" in names["discriminator_wins"]
    names, wide, near = played(patience=None, r1_weight=1.0)
    assert "discriminator_wins" not in names
    assert wide > 1.2 * narrow and near < 0.9 * far


# --- What a user meets.


def test_the_elbo_stays_true_and_the_game_is_logged():
    vae = make(pixel_weight=0.0, similarity_weight=4.0)
    history = vae.fit(X, validation_data=X, epochs=2, batch_size=8, verbose=0).history
    names = {"discriminator_loss", "told_real", "told_reconstructed", "told_drawn", "adversarial_loss"}
    names |= {"adversarial_weight", "similarity", "decoder_waits", "discriminator_waits", "discriminator_resets"}
    assert names < set(history)
    assert all(0 <= history[name][-1] <= 1 for name in names if "told" in name or "waits" in name)
    plain = kv.VAE(vae.encoder, vae.decoder, vae.prior, seed=1)
    plain.compile("adam")
    found, expected = (model.evaluate(X, verbose=0, return_dict=True) for model in (vae, plain))
    for name in ("elbo", "log_likelihood", "kl"):
        assert found[name] == pytest.approx(expected[name], rel=1e-4)
    # Without the pixels, the loss has nothing of log p(x|z).
    assert found["kl"] < found["loss"] < found["kl"] + 100


def test_it_is_saved_and_loaded_with_all_three_optimizers(tmp_path):
    def batches():
        return tf.data.Dataset.from_tensor_slices(X).batch(8)

    vae = make(patience=4, equilibrium=1e3, margin=None, eager=False)
    vae.fit(batches(), epochs=2, verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    for model in (vae, loaded):
        model.fit(batches(), epochs=2, verbose=0)
    for a, b in zip(
        [*vae.weights, *vae.optimizer.variables], [*loaded.weights, *loaded.optimizer.variables], strict=True
    ):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    assert int(loaded.resets) == 3
    # A copy by weights alone, as a checkpoint makes it, has the discriminator's optimizer too.
    copy = make(patience=4, equilibrium=1e3, margin=None)
    copy.set_weights(vae.get_weights())
    assert all(same(arrays(copy.discriminator_state), arrays(vae.discriminator_state)))
    assert kv.load(tmp_path / "vae.keras").sample(2, seed=0).shape == (2, *SHAPE)


@pytest.mark.slow
def test_a_feature_network_is_looked_through_and_left_alone(tmp_path):
    x = keras.layers.Input(SHAPE)
    first = keras.layers.Conv2D(3, 3)(x)
    eyes = keras.Model(x, [first, keras.layers.BatchNormalization()(first)])
    before = arrays(eyes.variables)
    vae = make(features=eyes, feature_weight=2.0, similarity_weight=0.0)
    history = vae.fit(X, epochs=2, batch_size=8, verbose=0).history
    assert all(same(arrays(eyes.variables), before))
    assert "similarity" not in history and history["feature_distance"][-1] > 0
    terms, loss, _ = vae.compute_objective(tf.constant(X), None, None, seeds.as_pair(1), False)
    pairs = zip(eyes(X), eyes(terms.likelihood.mean()[0]), strict=True)
    distance = sum(np.sum((np.asarray(a) - np.asarray(b)) ** 2) / 2 for a, b in pairs) / len(X)
    assert float(loss) == pytest.approx(-float(terms.mean(terms.elbo)) + 2.0 * distance, rel=1e-4)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert all(same(arrays(loaded.features.variables), before))


@kv.register
class TwoHeads(keras.Model):
    """A discriminator that says itself where distances are measured."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.flat, self.hidden, self.head = keras.layers.Flatten(), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)

    def build(self, shape):
        self.hidden.build((None, math.prod(shape[1:])))
        self.head.build((None, 4))

    def call(self, x):
        seen = self.hidden(self.flat(x))
        return self.head(seen), seen


@pytest.mark.slow
@pytest.mark.parametrize("judge", [TwoHeads, own_discriminator, lambda: keras.layers.Dense(1)])
def test_any_keras_layer_is_a_discriminator(judge, tmp_path):
    """Distances are measured in the features that it gives, in what its last layer sees, or not at all."""
    vae = make(discriminator=judge())
    history = vae.fit(X, epochs=1, batch_size=8, verbose=0).history
    measured = history.get("similarity", [0.0])
    assert (measured[-1] > 0) == ("similarity" in history) == (judge in (TwoHeads, own_discriminator))


@pytest.mark.parametrize(
    ("shape", "patches"),
    [
        *(
            ((8, 8, 1), False),
            ((28, 20, 1), False),
            ((5, 7, 3), False),
            ((2, 2, 1), False),
            ((3,), False),
            ((4, 6), False),
        ),
        *(((28, 20, 1), True), ((3,), True)),
    ],
)
def test_a_discriminator_is_made_for_any_shape(shape, patches):
    made = discriminator.make(shape, (4, 8, 8), patches)
    made.build((None, *shape))
    x = RNG.random((3, *shape)).astype("float32")
    logits = made(x, training=True)
    is_image = len(shape) == 3 and min(shape[:2]) >= 4
    assert logits.shape == ((3, *logits.shape[1:3], 1) if patches and is_image else (3, 1))
    for _ in range(15):
        made(x, training=True)
    before = arrays(made.variables)
    a, b = np.asarray(made(x, training=False)), np.asarray(made(x, training=False))
    np.testing.assert_array_equal(a, b)
    assert all(same(arrays(made.variables), before))
    for layer in made.layers:
        if isinstance(layer, keras.layers.SpectralNormalization):
            kernel = keras.ops.convert_to_numpy(layer.layer.kernel)
            assert np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2) == pytest.approx(1.0, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_in_half_precision(precision):
    keras.config.set_dtype_policy(precision)
    vae = make(r1_weight=0.5, eager=False)
    history = vae.fit(X, epochs=2, batch_size=8, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert {v.dtype for v in vae.discriminator.variables} == {"float32"}


@pytest.mark.slow
def test_conditional_models_ladders_codes_and_weights_play_too():
    labels = np.arange(24) % 4
    condition = parts.CONDITIONS["label"]()
    vae = kv.VAEGAN(
        parts.encoder("mlp", [8], parts.POSTERIORS["diag"](), condition),
        parts.decoder("mlp", [8], parts.LIKELIHOODS["normal"](), condition),
        parts.prior("conditional", condition),
        filters=(4,),
    )
    vae.compile("adam")
    found = vae.fit(X, labels, sample_weight=np.linspace(0, 1, 24), batch_size=8, verbose=0).history
    assert np.isfinite(found["loss"]).all()
    ladder = kv.VAEGAN(
        parts.encoder("ladder_mlp", [8, 4], parts.POSTERIORS["diag"]()),
        parts.decoder("ladder_mlp", [4, 8], parts.LIKELIHOODS["normal"]()),
        parts.PRIORS["standard_normal"](),
        filters=(4,),
    )
    ladder.compile("adam")
    assert np.isfinite(ladder.fit(X, batch_size=8, verbose=0).history["loss"]).all()
    # The autoencoder of Esser et al.
    codes = make(
        posterior="quantized",
        objective=objectives.CommittedELBO(),
        prior_draws=False,
        loss="hinge",
        patches=True,
        start=2,
        through_encoder=True,
        similarity_weight=0.0,
    )
    assert np.isfinite(codes.fit(X, batch_size=8, epochs=2, verbose=0).history["loss"]).all()


@pytest.mark.slow
def test_compiled_by_xla_the_game_is_the_same():
    """Without noise, of which XLA draws another: who waits, normalised kernels, R1, new ones."""
    histories, weights = [], []
    for jit in (False, True):
        keras.utils.set_random_seed(0)
        vae = kv.VAEGAN(
            parts.encoder("mlp", [8], posteriors.Deterministic(2)),
            parts.decoder("mlp", [8], likelihoods.Normal(SHAPE)),
            priors.StandardNormal(2),
            objective=objectives.Reconstruction(),
            prior_draws=False,
            r1_weight=0.5,
            margin=0.01,
            filters=(4, 4),
            seed=1,
        )
        vae.compile(keras.optimizers.Adam(1e-3), jit_compile=jit)
        histories.append(vae.fit(X, batch_size=8, epochs=3, shuffle=False, verbose=0).history)
        weights.append(arrays(vae.weights))
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-3, atol=1e-4, err_msg=name)
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


REPLICAS = """
import json
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras, numpy as np
import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors, priors

x = np.random.default_rng(0).random((37, 8, 8, 1)).astype("float32")
found = []
for options in (
    {"margin": 0.01},
    {"r1_weight": 1.0, "through_encoder": True, "margin": None, "loss": "hinge", "equilibrium": 100.0, "patience": 3},
):
    weights = []
    for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            vae = kv.VAEGAN(
                kv.Encoder(networks.mlp([16]), posteriors.Deterministic(2)),
                kv.Decoder(networks.mlp([16]), likelihoods.Normal((8, 8, 1))),
                priors.StandardNormal(2),
                objective=objectives.Reconstruction(),
                seed=1,
                filters=(4, 8),
                prior_draws=False,
                **options,
            )
            vae.build()
            vae.compile(keras.optimizers.Adam(1e-2))
        vae.fit(x, batch_size=12, epochs=3, shuffle=False, verbose=0)
        weights.append([np.asarray(w, "float64").tolist() for w in vae.get_weights()])
    found.append([weights, int(vae.resets.numpy())])
print(json.dumps(found))
"""


@pytest.mark.slow
def test_two_replicas_are_one_device_with_the_same_batch():
    """Without noise: who waits, the adaptive weight, normalised kernels and new ones are the same."""
    command = [sys.executable, "-c", REPLICAS]
    paths = [str(folder) for folder in Path(__file__).parents[:2]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    (plain, none), (anew, resets) = json.loads(result.stdout.strip().splitlines()[-1])
    assert (none, resets) == (0, 4)
    for one, two in (plain, anew):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"discriminator": "patches"}, TypeError, "discriminator must be a Keras layer or model"),
        ({"features": abs}, TypeError, "features must be a Keras layer or model"),
        ({"similarity_layer": "stage_9"}, ValueError, "has .*'stage_1'.*'logits'"),
        ({"discriminator": TwoHeads(), "similarity_layer": "hidden"}, ValueError, "let it give .logits, features."),
        ({"discriminator": keras.layers.Dense(1), "similarity_weight": 1.0}, ValueError, "name it by similarity_layer"),
    ],
)
def test_what_cannot_be_is_refused(options, error, words):
    with pytest.raises(error, match=words):
        make(**options).train_on_batch(X)


# --- Diagnosis.


def test_samples_that_are_all_alike_are_found():
    vae = make()
    vae.fit(X, epochs=1, verbose=0)
    vae.decoder.output_layer.kernel.assign(0.0 * vae.decoder.output_layer.kernel)
    (finding,) = [f for f in evaluation.diagnose(vae, X) if f.name == "constant_samples"]
    assert finding.value < 0.01 and "pixel_weight" in finding.remedy and finding.is_harmful


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ({"told_real": [0.5, 1.0], "told_drawn": [0.5, 0.99]}, "discriminator_wins"),
        ({"told_real": 1.0, "told_drawn": 0.6}, None),
        ({"decoder_waits": [0.2, 0.95]}, "decoder_waits"),
        ({"discriminator_resets": [0.0, 2.0]}, "discriminator_reset"),
        ({"decoder_waits": [0.95, 0.2]}, None),
    ],
)
def test_what_the_logs_say_of_the_game(history, expected):
    vae = make()
    vae.adapt(X)
    names = [f.name for f in evaluation.diagnose(vae, X, history)]
    game_names = {"discriminator_wins", "decoder_waits", "discriminator_reset"}
    assert [name for name in names if name in game_names] == ([] if expected is None else [expected])
