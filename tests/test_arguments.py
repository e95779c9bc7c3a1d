"""What is refused: one table of the checks, and one of the arguments of everything that users make."""

import math

import numpy as np
import pytest
import tensorflow as tf
from small_models import make_vae

import keras_vae as kv
from keras_vae import (
    arguments,
    callbacks,
    conditions,
    data,
    evaluation,
    export,
    flows,
    likelihoods,
    networks,
    objectives,
    pictures,
    posteriors,
    priors,
    schedules,
    seeds,
)

NOT_COUNTS = (0, -1, 1.5, "3", None, True, math.nan, [3], np.float32(2))
NOT_SEEDS = ([1, 2, 3], [1], 1.5, "3", True, np.True_, [1.0, 2.0], [[1, 2]], [2**31, 0], math.nan, {}, [None, 1])
NOT_NUMBERS = ("1", None, True, math.nan, math.inf, [1.0], 1j)

CHECKS = [
    (lambda v: arguments.check_count("n", v), NOT_COUNTS, "n must be an int >= 1, not "),
    (lambda v: arguments.check_count("n", v, at_most=4), (*NOT_COUNTS, 5), "n must be an int from 1 to 4, not "),
    (lambda v: arguments.check_count("n", v, at_least=0), (-1, 0.0, False), "n must be an int >= 0, not "),
    (lambda v: arguments.check_number("x", v), NOT_NUMBERS, "x must be a finite number, not "),
    (lambda v: arguments.check_number("x", v, above=0), (*NOT_NUMBERS, 0, -1), "x must be a positive number, not "),
    (
        lambda v: arguments.check_number("x", v, at_least=0, below=1),
        (*NOT_NUMBERS, 1, -0.1),
        "x must be a number at least 0 and below 1, not ",
    ),
    (lambda v: arguments.check_weight("w", v), (*NOT_NUMBERS, -1), r"w must be a number at least 0 or a schedule"),
    (lambda v: arguments.check_weight("w", v), (abs, lambda step: step), "w is a function, .*cannot be saved"),
    (lambda v: arguments.check_flag("f", v), (0, 1, "yes", None), "f must be True or False, not "),
    (lambda v: arguments.check_memory("It", v), (2**60,), "It would take 1,073,741,824.0 GiB of memory, of which"),
    (lambda v: seeds.as_pair(v), NOT_SEEDS, "seed must be an int, a pair of int32, or None"),
    (lambda v: arguments.check_choice("k", v, ("a", None)), ("b", 1, ["a"]), "k must be one of 'a', None, not "),
    (lambda v: arguments.check_sizes("s", v), (3, "3", [0], [1.5], [True], None), "s must be a list of positive ints"),
    (lambda v: arguments.check_sizes("s", v), ([], ()), "s must name at least one layer"),
    (lambda v: arguments.check_kernel_size(v, "iaf"), (0, "3", 1.5, True), "kernel_size must be an int"),
    (lambda v: arguments.check_kernel_size(v, "iaf"), (2, 4), "kernel_size must be odd"),
    (lambda v: arguments.check_kernel_size(v, "coupling"), (3,), 'flows of kind "iaf"'),
    (lambda v: arguments.check_event_shape(v), (3, (), None, "ab"), "event_shape must be a tuple such as"),
    (lambda v: arguments.check_event_shape(v), ((0,), (1.5, 2), (True,)), "event_shape must hold positive ints only"),
    (lambda v: arguments.check_grid(v, 8), (3, [2], [2, 2, 2], [0, 2], [1.0, 2]), "grid must be .height, width."),
    (lambda v: arguments.check_grid(v, 8), ([3, 1], [8, 2]), "latent_dim 8 is not"),
    (lambda v: arguments.check_latents(v), (0, [0, 0], [-1], [], "2", True, [1.5]), "latents must be a positive int"),
    (lambda v: arguments.check_schema(v), (3, "guess", ["a"]), "schema is a mapping of the columns to their kinds"),
    (lambda v: arguments.check_columns(v), ([], [3], ["a", "a"]), "condition must name different columns of a table"),
    (lambda v: arguments.check_resize(v, 9), (3, (1,), (0, 3), (3, 10), (1.5, 2), "33"), "resize must be"),
    (lambda v: arguments.check_interval(*v), ((1, 0), (0, 0), (0, math.inf), ("0", 1), (False, 1)), "low and high"),
    (lambda v: arguments.check_value_range(v), (3, (1,), (1, 0), (0, math.inf), ("0", 1), "01"), "value_range must be"),
    (lambda v: arguments.check_activation(v), (abs, None, 1), "must be the name of a Keras activation"),
    (lambda v: arguments.check_activation(v), ("no_such",), "no_such"),
    (lambda v: arguments.check_derived(v, ("gray",)), ("colour", 3, {}, {"factor": 2}), "condition must be"),
    (lambda v: arguments.check_names("n", v), ("ab", 3, [1], ["a", None], {"a": 0}), "n must be a list of texts"),
    (lambda v: arguments.check_names("n", v, 3), ([], ["a", "b"]), "n must have a text for each of the 3 classes"),
    (lambda v: arguments.check_names("n", v), ([""], [" "], ["a\n"], ["\ud800"], ["a" * 256]), "cannot be the name of"),
    (lambda v: arguments.check_names("n", v), (["a", "a"], ["\xe9", "e\u0301"]), "are both called"),
    (lambda v: arguments.require_image(v), ((3,), (2, 2)), "Convolutions of images, .*work on images"),
    (lambda v: arguments.require_places(v), ((3,), (2, 2, 2, 1)), r"images .*series of shape \(steps, channels\)"),
]


@pytest.mark.parametrize(
    "check, value, message", [(check, value, message) for check, values, message in CHECKS for value in values]
)
def test_each_check_refuses_and_says_what_is_allowed(check, value, message):
    with pytest.raises(ValueError, match=message):
        check(value)


def test_numbers_of_numpy_are_as_good_as_those_of_python():
    assert type(arguments.check_count("n", np.int64(3))) is int
    assert type(arguments.check_number("x", np.float32(0.5), above=0)) is float
    assert arguments.check_flag("f", np.True_) is True
    arguments.check_memory("Little", 1000)
    for seed in (np.int64(5), np.uint8(5), np.array(5), tf.constant(5, tf.int64)):
        np.testing.assert_array_equal(seeds.as_pair(seed), seeds.as_pair(5))
    for pair in ([1, -2], (1, -2), np.array([1, -2]), tf.constant([1, -2])):
        np.testing.assert_array_equal(seeds.as_pair(pair), [1, -2])
    assert arguments.check_sizes("s", (np.int32(2), 3)) == [2, 3]
    assert arguments.check_event_shape([np.int64(2), 1]) == (2, 1)
    assert arguments.check_grid((1, 2), 4) == ((1, 2), 2)
    assert arguments.check_latents(3) == [3] and arguments.check_latents([0, 2]) == [0, 2]
    assert arguments.check_interval(np.float32(0), 1) == (0.0, 1.0)
    assert arguments.check_resize(None, 9) is None and arguments.check_resize([2, 9], 9) == (2, 9)
    schedule = schedules.Linear(3)
    assert arguments.check_weight("w", schedule) is schedule


SHAPE, IMAGES = (6, 5, 2), np.zeros((8, 6, 5, 2), np.uint8)
DIAG, NORMAL, BERNOULLI = posteriors.MultivariateNormalDiag, priors.StandardNormal, likelihoods.Bernoulli


def vae_of(kind=kv.VAE, **options):
    parts = {
        "encoder": kv.Encoder(networks.mlp([4]), DIAG(2)),
        "decoder": kv.Decoder(networks.mlp([4]), BERNOULLI(SHAPE)),
        "prior": NORMAL(2),
    }
    return kind(**(parts | options))


# What is called, and the argument that the message must name.
ARGUMENTS = [
    (lambda: DIAG(0), "latent_dim"),
    (lambda: DIAG("3"), "latent_dim"),
    (lambda: NORMAL(2.5), "latent_dim"),
    (lambda: posteriors.MultivariateNormalLowRank(3, rank=4), "rank"),
    (lambda: posteriors.Kumaraswamy(3, low=1.0, high=0.0), "low and high"),
    (lambda: posteriors.RelaxedOneHot(1), "num_classes"),
    (lambda: posteriors.RelaxedOneHot(3, temperature=0), "temperature"),
    (lambda: posteriors.RelaxedOneHot(3, temperature=abs), "temperature"),
    (lambda: posteriors.VectorQuantized(6, grid=(4, 1)), "latent_dim"),
    (lambda: posteriors.VectorQuantized(6, grid=(3, 1), num_codes=0), "num_codes"),
    (lambda: posteriors.VectorQuantized(6, grid=(3, 1), decay=1.0), "decay"),
    (lambda: posteriors.VectorQuantized(6, grid=(3, 1), revive_below=-0.1), "revive_below"),
    (lambda: posteriors.VectorQuantized(6, grid=(3, 1), learned_by="ema"), "learned_by"),
    (lambda: posteriors.VectorQuantized(6, grid=(3, 1), start="zeros"), "start"),
    (lambda: posteriors.VectorQuantized(6, grid=(3, 1), through="none"), "through"),
    (lambda: posteriors.VectorQuantized(6, grid=(3, 1), cosine=1), "cosine"),
    (lambda: posteriors.FiniteScalar([], grid=(3, 1)), "levels"),
    (lambda: posteriors.FiniteScalar([3, 1], grid=(3, 1)), "levels"),
    (lambda: posteriors.FiniteScalar([3], grid=3), "grid"),
    (lambda: posteriors.LookupFree(0, grid=(3, 1)), "num_bits"),
    (lambda: posteriors.LookupFree(2, grid=(3, 1), temperature=0.0), "temperature"),
    (lambda: posteriors.LookupFree(2, grid=(3, 1), entropy_weight=-1.0), "entropy_weight"),
    (lambda: posteriors.LookupFree(2, grid=(3, 1), diversity_weight=-1.0), "diversity_weight"),
    (lambda: posteriors.Residual(posteriors.FiniteScalar([3], (3, 1)), 0), "num_stages"),
    (lambda: posteriors.Residual(posteriors.FiniteScalar([3], (3, 1)), 2, dropout=1.5), "dropout"),
    (lambda: posteriors.Grouped(posteriors.FiniteScalar([3], (3, 1)), 0), "num_groups"),
    (lambda: flows.Flow(DIAG(3), kind="planar"), "kind"),
    (lambda: flows.Flow(posteriors.Deterministic(3)), "density"),
    (lambda: flows.Flow(posteriors.Kumaraswamy(3)), "real line"),
    (lambda: flows.Flow(DIAG(3), num_layers=0), "num_layers"),
    (lambda: flows.Flow(DIAG(3), units=(0,)), "units"),
    (lambda: flows.Flow(DIAG(3), context_size=-1), "context_size"),
    (lambda: priors.Uniform(3, low=0.0, high=math.inf), "low and high"),
    (lambda: priors.NormalMixture(3, 0), "num_components"),
    (lambda: priors.NormalMixture(3, 4).adapt_to_codes(np.zeros((20, 2))), "codes"),
    (lambda: networks.distorted(networks.mlp([2]), shift=-1.0), "shift"),
    (lambda: networks.distorted(networks.mlp([2]), rotation=181.0), "rotation"),
    (lambda: networks.distorted(networks.mlp([2]), zoom=1.0), "zoom"),
    (lambda: priors.VampPrior(3, -1), "num_pseudo_inputs"),
    (lambda: priors.RealNVP(3, num_layers=0), "num_layers"),
    (lambda: priors.RealNVP(3, units=[]), "units"),
    (lambda: priors.UniformOneHot(1), "num_classes"),
    (lambda: priors.ConditionalNormal(3, None), "condition"),
    (lambda: priors.AutoregressiveCodes(6, grid=(3, 1), num_codes=4, num_heads=0), "num_heads"),
    (lambda: priors.AutoregressiveCodes(6, grid=(3, 1), num_codes=4, depth=0), "depth"),
    (lambda: priors.UniformCodes(6, grid=(4, 1), num_codes=4), "latent_dim"),
    (lambda: BERNOULLI(()), "event_shape"),
    (lambda: BERNOULLI((3, 0)), "event_shape"),
    (lambda: likelihoods.Normal(SHAPE, scale="free"), "scale"),
    (lambda: likelihoods.Normal(SHAPE, scale=0.0), "scale"),
    (lambda: likelihoods.DiscretizedLogistic(SHAPE, levels=1), "levels"),
    (lambda: likelihoods.DiscretizedLogisticMixture(SHAPE, num_components=0), "num_components"),
    (lambda: likelihoods.Categorical(SHAPE, levels=2.5), "levels"),
    (lambda: likelihoods.Binomial(SHAPE, total_count=0), "total_count"),
    (lambda: networks.mlp([0]), "units"),
    (lambda: networks.gated_mlp(4), "units must be a list of positive ints"),
    (lambda: networks.gated_mlp([4], activation=abs), "must be the name of a Keras activation"),
    (lambda: networks.mlp([4], activation="no_such"), "no_such"),
    (lambda: networks.conv([]), "filters"),
    (lambda: networks.conv([4], kernel_size=0), "kernel_size"),
    (lambda: networks.residual([4], blocks=0), "blocks"),
    (lambda: networks.FeatureNetwork([0]), "filters"),
    (lambda: networks.FeatureNetwork(steps=0.5), "steps"),
    (lambda: objectives.ELBO(kl_weight=-1), "kl_weight"),
    (lambda: objectives.ELBO(kl_weight=math.nan), "kl_weight"),
    (lambda: objectives.ELBO(kl_weight=lambda step: 1.0), "kl_weight is a function"),
    (lambda: objectives.ELBO(free_bits=math.nan), "free_bits"),
    (lambda: objectives.ELBO(num_samples=0), "num_samples"),
    (lambda: objectives.Capacity(-1.0), "capacity"),
    (lambda: objectives.JointCapacity(1.0, "2"), "discrete_capacity"),
    (lambda: objectives.ClusteredELBO(-1.0, 1.0), "information_weight"),
    (lambda: objectives.ClusteredELBO(1.0, math.nan), "balance_weight"),
    (lambda: objectives.ClusteredELBO(1.0, 1.0, kl_weight="1"), "kl_weight"),
    (lambda: objectives.ImportanceWeighted(0), "num_samples"),
    (lambda: objectives.ImportanceWeighted(2, estimator="reinforce"), "estimator"),
    (lambda: objectives.Reconstruction(num_samples=1.5), "num_samples"),
    (lambda: objectives.TotalCorrelation(0), "num_examples"),
    (lambda: objectives.TotalCorrelation(9, tc_weight=-1), "tc_weight"),
    (lambda: objectives.DIP("III"), "kind"),
    (lambda: objectives.DIP("I", schedules.Linear(5)), "Give diagonal_weight too"),
    (lambda: objectives.MMD(kernel="linear"), "kernel"),
    (lambda: objectives.MMD(mmd_weight=None), "mmd_weight"),
    (lambda: objectives.Perceptual(weight="1"), "weight"),
    (lambda: objectives.CommittedELBO(commitment_weight=-1), "commitment_weight"),
    (lambda: objectives.InformationCascade(stage=0), "stage"),
    (lambda: objectives.InformationCascade(released=-1), "released"),
    (lambda: schedules.Linear(0), "steps"),
    (lambda: schedules.Linear(4, start="0"), "start"),
    (lambda: schedules.Cyclical(0), "period"),
    (lambda: schedules.Cyclical(4, ramp=0), "ramp"),
    (lambda: conditions.Label(1), "num_classes"),
    (lambda: conditions.Label(2, ["a"]), "names"),
    (lambda: conditions.Label(2, "ab"), "names"),
    (lambda: conditions.Vector(0), "size"),
    (lambda: conditions.Image((3, 0, 1)), "shape"),
    (lambda: kv.LadderDecoder(networks.mlp([4, 4]), BERNOULLI(SHAPE), latents=[0]), "latents"),
    (lambda: vae_of(gradient_skip_norm=0.0), "gradient_skip_norm"),
    (lambda: vae_of(gradient_skip_norm=True), "gradient_skip_norm"),
    (lambda: vae_of(kv.VAEGAN, pixel_weight=-1), "pixel_weight"),
    (lambda: vae_of(kv.VAEGAN, similarity_weight="1"), "similarity_weight"),
    (lambda: vae_of(kv.VAEGAN, feature_weight=math.nan), "feature_weight"),
    (lambda: vae_of(kv.VAEGAN, decoder_weight=-1), "decoder_weight"),
    (lambda: vae_of(kv.VAEGAN, adversarial_weight=-1), "adversarial_weight"),
    (lambda: vae_of(kv.VAEGAN, adaptive=1), "adaptive"),
    (lambda: vae_of(kv.VAEGAN, start=-1), "start"),
    (lambda: vae_of(kv.VAEGAN, loss="wasserstein"), "loss must be one of 'cross_entropy', 'hinge'"),
    (lambda: vae_of(kv.VAEGAN, prior_draws="no"), "prior_draws"),
    (lambda: vae_of(kv.VAEGAN, through_encoder=None), "through_encoder"),
    (lambda: vae_of(kv.VAEGAN, filters=[]), "filters"),
    (lambda: vae_of(kv.VAEGAN, patches=2), "patches"),
    (lambda: vae_of(kv.VAEGAN, discriminator_learning_rate=0.0), "discriminator_learning_rate"),
    (lambda: vae_of(kv.VAEGAN, r1_weight=-1.0), "r1_weight"),
    (lambda: vae_of(kv.VAEGAN, margin=-0.1), "margin"),
    (lambda: vae_of(kv.VAEGAN, equilibrium=0.0), "equilibrium"),
    (lambda: vae_of(kv.VAEGAN, patience=0), "patience"),
    (lambda: vae_of(kv.VAEGAN, objective=objectives.ImportanceWeighted(2, "dreg")), "wants gradients along the paths"),
    (lambda: objectives.ImportanceWeighted(2, backward_samples=3), "backward_samples must be an int from 1 to 2"),
    (lambda: callbacks.SkippedSteps(limit=0), "limit"),
    (lambda: callbacks.Diagnosis(IMAGES, every=0), "every"),
    (lambda: callbacks.TensorBoardPictures("logs", IMAGES, every=1.5), "every"),
    (lambda: data.load(IMAGES, seed=-1), "seed"),
    (lambda: data.load(IMAGES, validation_split=1.0), "validation_split"),
    (lambda: data.load(IMAGES, test_split="0.1"), "test_split"),
    (lambda: data.load(IMAGES, resize=(0, 3)), "resize"),
    (lambda: data.load(IMAGES, value_range=(1, 0)), "value_range"),
    (lambda: data.load(IMAGES, fit="squeeze"), "fit"),
    (lambda: data.load(IMAGES, class_names=["a"]), "class_names"),
    (lambda: data.load(IMAGES, levels=1), "levels"),
    (lambda: data.load(IMAGES, levels=2**17), "levels"),
    (lambda: data.load(IMAGES, binarize="half"), "binarize"),
    (lambda: data.load("nowhere", on_bad_file="ignore"), "on_bad_file"),
    (lambda: data.load(IMAGES, condition="colour"), "condition"),
    (lambda: evaluation.log_likelihood(make_vae(), np.zeros((2, 8, 8, 1), "float32"), num_samples=0), "num_samples"),
    (lambda: evaluation.augment(make_vae(), temperature=-1), "temperature"),
    (lambda: evaluation.CodeClassifier(make_vae(), IMAGES, penalty=0), "penalty"),
    (lambda: evaluation.fine_tune(make_vae(), IMAGES, steps=0), "steps"),
    (lambda: evaluation.fine_tune(make_vae(), IMAGES, batch_size=0.5), "batch_size"),
    (lambda: evaluation.fine_tune(make_vae(), IMAGES, learning_rate=0), "learning_rate"),
    (lambda: evaluation.fine_tune(make_vae(), IMAGES, dropout=1.0), "dropout"),
    (lambda: evaluation.self_train(make_vae(), IMAGES, IMAGES, rounds=0), "rounds"),
    (lambda: make_vae().sample(-1), "n must be"),
    (lambda: make_vae().sample(1.5), "n must be"),
    (lambda: make_vae().sample(True), "n must be"),
    (lambda: make_vae().sample(10**12), "GiB of memory"),
    (lambda: make_vae().generate(10**12), "GiB of memory"),
    (lambda: make_vae().sample(2, seed=[1, 2, 3]), "seed"),
    (lambda: make_vae().sample(2, temperature=math.nan), "temperature"),
    (lambda: make_vae().sample(2, temperature=-1), "temperature"),
    (lambda: make_vae().sample(2, noise="yes"), "noise"),
    (lambda: make_vae().decode(1.0), "z must have shape"),
    (lambda: make_vae().decode([]), "z must have shape"),
    (lambda: make_vae().decode(np.zeros((2, 3))), "z must have shape"),
    (lambda: make_vae().decode(np.full((2, 4), math.nan)), "z must be finite"),
    (lambda: make_vae().decode(np.full((2, 4), 1e300)), "z must be finite"),
    (lambda: make_vae().decode(["a", "b"]), "z must be numbers"),
    (lambda: make_vae().decode(None), "z must be an array"),
    (lambda: make_vae().decode(np.zeros((2, 4), complex)), "z must be numbers"),
    (lambda: make_vae().predict("a"), "The data have"),
    (lambda: make_vae().predict([]), "The data have shape"),
    (lambda: make_vae().log_prob(np.zeros((2, 8, 8, 1), "float32"), num_samples=0), "num_samples"),
    (lambda: make_vae().infer(np.zeros((2, 8, 8, 1), "float32"), 10**12, seed=0), "GiB of memory"),
    (lambda: evaluation.log_likelihood(make_vae(), np.zeros((2, 8, 8, 1), "float32"), 2**31), "num_samples"),
    (lambda: evaluation.precision_recall(np.zeros((9, 2)), np.zeros((9, 2)), neighbours=1.5), "neighbours"),
    (lambda: evaluation.judge_samples(make_vae(), IMAGES, num_samples=7), "num_samples"),
    (lambda: pictures.samples(make_vae(), n=0), "n must be"),
    (lambda: pictures.attributes(make_vae(), IMAGES, {"a": [0, 1]}, n=0), "n must be"),
    (lambda: pictures.attributes(make_vae(), IMAGES, strengths=["1"]), "strengths"),
    (lambda: export.to_tflite(make_vae(), "x.tflite", quantization="int4"), "quantization"),
]
KINDS = [
    (lambda: kv.Encoder(3, DIAG(2)), "network"),
    (lambda: kv.Encoder(networks.mlp([4]), NORMAL(2)), "posterior"),
    (lambda: kv.Encoder(networks.mlp([4]), DIAG(2), condition=10), "condition"),
    (lambda: kv.Decoder(networks.mlp([4]), DIAG(2)), "likelihood"),
    (lambda: kv.LadderEncoder(vae_of(), DIAG(2)), "network"),
    (lambda: flows.Flow(NORMAL(2)), "base_posterior"),
    (lambda: priors.ConditionalNormal(2, "label"), "condition"),
    (lambda: vae_of(encoder=DIAG(2)), "encoder"),
    (lambda: vae_of(decoder=BERNOULLI(SHAPE)), "decoder"),
    (lambda: vae_of(prior=DIAG(2)), "prior"),
    (lambda: vae_of(objective="elbo"), "objective"),
]


@pytest.mark.parametrize("make, named", ARGUMENTS)
def test_wrong_values_are_refused_by_the_name_of_the_argument(make, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=named):
        make()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("make, named", KINDS)
def test_parts_of_another_kind_are_refused(make, named):
    with pytest.raises(TypeError, match=f"{named} must be "):
        make()
