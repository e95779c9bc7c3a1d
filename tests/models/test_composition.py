"""Any posterior x any prior x any likelihood x any objective x any network, in every precision and mode."""

import contextlib
import functools
import itertools
import math
import random
import re

import keras
import numpy as np
import parts
import pytest
import tensorflow as tf

import keras_vae as kv

FACTORS = {
    "posterior": list(parts.POSTERIORS),
    "likelihood": list(parts.LIKELIHOODS),
    "objective": [name for name in parts.OBJECTIVES if name not in parts.OF_ONE_KIND],
    "prior": list(parts.PRIORS),
    "network": list(parts.NETWORKS),
    "condition": list(parts.CONDITIONS),
    "precision": ["float32", "mixed_bfloat16", "mixed_float16"],
    "mode": ["eager", "graph", "xla"],  # compiling for XLA takes several times as long
}

SHARDS = 200  # of the full product: some 30 rows, a few minutes, each
BATCH, EPOCHS, LOOKS = 16, 4, 15  # trained until it has learned something, at most so many times as long
DRAWS = 4  # of the noise with which the objective is evaluated
GAIN = 0.05  # nats by which training must lower it: with equal noise, a model that learns nothing stays where it is


def build(posterior, prior, likelihood, objective, network="mlp", condition="unconditional"):
    given = parts.CONDITIONS[condition]()
    return kv.VAE(
        parts.encoder(network, [16, 8], parts.POSTERIORS[posterior](), given),
        parts.decoder(network, [8, 16], parts.LIKELIHOODS[likelihood](), given),
        parts.prior(prior, given),
        parts.OBJECTIVES[objective](),
        seed=1,
    )


def reasons(posterior, prior, objective):
    """Words of the error with which `VAE` refuses three parts, none if it takes them. See the test of these rules."""
    if parts.PRIOR_OF.get(posterior) != prior and {posterior, prior} & {*parts.DISCRETE, *parts.DISCRETE_PRIORS}:
        return ("cannot be compared",)
    if prior == "uniform" and posterior != "kumaraswamy":
        return ("KL(q || p) would be infinite", "Kumaraswamy(latent_dim")
    if posterior == "deterministic" and objective != "reconstruction":
        return ("objectives.Reconstruction()",)
    if posterior in ("iaf", "coupling", *parts.DISCRETE) and objective in ("total_correlation", "dip"):
        return ("no closed form",)
    if posterior == "deterministic" and prior == "vamp":
        return ("VampPrior is a mixture of the densities",)
    return ()


# Objectives that have no meaning for a hierarchy.
OF_ONE_LEVEL = ("total_correlation", "dip")
# And those that would invert a flow of maps.
OF_NO_FLOW_OF_MAPS = ("stl", "dreg", "few")


@functools.cache
def fits(posterior, prior, objective, network):
    """Whether some of the parts, None for any, go with each other."""
    given = zip(("posterior", "prior", "objective"), (posterior, prior, objective), strict=True)
    triples = itertools.product(*(FACTORS[name] if value is None else [value] for name, value in given))
    refused = OF_ONE_LEVEL if parts.is_ladder(network) else ()
    refused += OF_NO_FLOW_OF_MAPS if network == "ladder_iaf" else ()
    return any(not reasons(*triple) and triple[2] not in refused for triple in triples)


def allowed(row):
    """Whether the parts in `row` can be part of a VAE."""
    if row.get("prior") == "vamp" and row.get("condition", "unconditional") != "unconditional":
        return False
    if row.get("network") == "distorted" and row.get("mode") == "xla":
        # Its layer says so: `supports_jit`.
        return False
    if row.get("likelihood") == "series" and {row.get("network"), row.get("objective")} & set(parts.OF_IMAGES):
        return False
    names = ("posterior", "prior", "objective")
    return fits(*(row.get(name) for name in names), row.get("network", ""))


def fixed_objective(vae, x, c, step):
    """A function that gives the objective of all data, each time with the same noise and at the same step."""

    def one(seed):
        terms = vae.infer(x, vae.objective.num_samples, seed, condition=c)
        return vae.objective(terms, tf.constant(step, tf.int64))[0]

    # Called so few times, it is not worth its tracing.
    return lambda: float(np.mean([one(seed) for seed in range(DRAWS)]))


def check(row, folder):
    keras.config.set_dtype_policy(row["precision"])
    vae = build(*(row[name] for name in ("posterior", "prior", "likelihood", "objective", "network", "condition")))
    x = parts.data(vae.decoder.likelihood)
    c = parts.given(vae.condition)
    # One wild draw of a flow or a small scale must not decide so short a training.
    optimizer = keras.optimizers.Adam(0.01, global_clipnorm=1.0)
    if row["precision"] == "mixed_float16":
        # The usual 2^15 overflows, rightly, and would spend all of this short training on being halved.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**7)
    vae.compile(optimizer, run_eagerly=row["mode"] == "eager", jit_compile=row["mode"] == "xla")
    vae.adapt(x)
    steps = EPOCHS * len(x) // BATCH
    # At a step behind the end of every schedule.
    objective = fixed_objective(vae, x, c, 3 * steps)
    before, after = objective(), []
    while len(after) < LOOKS and min(after, default=before) >= before - GAIN:
        losses = vae.fit(x, c, batch_size=BATCH, epochs=EPOCHS, verbose=0).history["loss"]
        assert np.all(np.isfinite(losses))
        after.append(objective())
    assert int(vae.step) == len(after) * steps
    # One may begin at a saddle, where data that are bright as often as dark look gray; one that does not learn stays.
    assert min(after) < before - GAIN, f"{before:.2f} before, {np.round(after, 2)} after"
    vae.save(folder / "vae.keras")
    loaded = keras.saving.load_model(folder / "vae.keras")
    # What `log_prob` computes, without the tracing.
    few = None if c is None else c[:4]
    terms, again = (model.infer(x[:4], num_samples=2, seed=0, condition=few) for model in (vae, loaded))
    np.testing.assert_array_equal(again.log_weights, terms.log_weights)
    np.testing.assert_array_equal(again.likelihood.mean(), terms.likelihood.mean())
    samples = loaded.sample(3, seed=0, condition=None if c is None else c[:3])
    assert samples.shape == (3, *vae.decoder.event_shape)
    assert np.all(np.isfinite(samples))
    support = vae.decoder.likelihood.support
    assert support.low <= samples.min() and samples.max() <= support.high


ROWS = parts.pairwise(FACTORS, allowed)


def marked(row):
    """Those that run as a graph are of every day: as pairs with the graph they have every line of the other tables."""
    marks = () if row["mode"] == "graph" else pytest.mark.slow(every=True)
    return pytest.param(row, id="-".join(row.values()), marks=marks)


@pytest.mark.parametrize("row", [marked(row) for row in ROWS])
def test_every_pair_of_parts_trains_saves_and_samples(row, tmp_path):
    check(row, tmp_path)


def test_the_rows_cover_every_pair_and_leave_out_only_what_is_refused():
    covered = {pair for row in ROWS for pair in itertools.combinations(sorted(row.items()), 2)}
    for a, b in itertools.combinations(sorted(FACTORS), 2):
        for u, v in itertools.product(FACTORS[a], FACTORS[b]):
            assert (((a, u), (b, v)) in covered) == allowed({a: u, b: v})
    # No table of rows has fewer than the pairs of its two largest factors; the greedy one is not far from that.
    most = sorted(map(len, FACTORS.values()))[-2:]
    assert len(ROWS) < 1.25 * math.prod(most)
    everyday = {item for row in ROWS if row["mode"] == "graph" for item in row.items()}
    left_out = {(name, value) for name, values in FACTORS.items() for value in values} - everyday
    assert left_out == {("mode", "eager"), ("mode", "xla")}


@functools.cache
def full_product():
    """All rows, in an order of chance that is always the same: any run of them is a fair sample of the whole."""
    *names, _, _, _ = FACTORS
    turns = itertools.cycle(itertools.product(FACTORS["condition"], FACTORS["precision"], FACTORS["mode"]))
    rows = []
    for choice in itertools.product(*(FACTORS[name] for name in names)):
        row = dict(zip(names, choice, strict=True))
        if allowed(row):
            condition, precision, mode = next(turns)
            condition = "unconditional" if row["prior"] == "vamp" else condition
            rows.append({**row, "condition": condition, "precision": precision, "mode": mode})
    random.Random(0).shuffle(rows)
    return rows


@pytest.mark.exhaustive
@pytest.mark.parametrize("shard", range(SHARDS), ids="shard_{:03d}".format)
def test_the_full_product(shard, tmp_path):
    """One of `SHARDS` parts of the product: `pytest -m exhaustive -k shard_017` runs the rows of one."""
    failures = []
    for row in full_product()[shard::SHARDS]:
        keras.backend.clear_session()
        try:
            check(row, tmp_path)
        except Exception as error:
            failures.append(f"{'-'.join(row.values())}: {type(error).__name__}: {error}")
    assert not failures, "\n".join(failures)


def refusal(match):
    """That the block is refused in these words, or, without any, that it is not."""
    return pytest.raises(ValueError, match=match) if match else contextlib.nullcontext()


def test_only_what_has_no_meaning_is_refused():
    decoder = parts.decoder("mlp", [8], parts.LIKELIHOODS["normal"]())
    encoders = {name: parts.encoder("mlp", [8], make()) for name, make in parts.POSTERIORS.items()}
    made = {kind: {name: make() for name, make in parts.TABLES[kind].items()} for kind in ("prior", "objective")}
    for triple in itertools.product(*(FACTORS[name] for name in ("posterior", "prior", "objective"))):
        # In this order, on any number of lines.
        words = "(?s)" + ".*".join(map(re.escape, reasons(*triple)))
        posterior, prior, objective = triple
        with refusal(words if words != "(?s)" else ""):
            vae = kv.VAE(encoders[posterior], decoder, made["prior"][prior], made["objective"][objective])
            if (posterior, prior) == ("deterministic", "vamp"):
                vae.build()
                vae.prior.distribution(encoder=vae.encoder)  # a mixture of posteriors needs their densities


@pytest.mark.parametrize("objective", FACTORS["objective"])
def test_an_objective_of_one_level_refuses_a_hierarchy(objective):
    """Some see it only when they are called."""
    with refusal(r"one level|one group" if objective in OF_ONE_LEVEL else ""):
        vae = build("diag", "standard_normal", "normal", objective, "ladder_mlp")
        vae.objective(vae.infer(np.zeros((1, *parts.SHAPE)), vae.objective.num_samples, 0), tf.constant(0, tf.int64))


@pytest.mark.parametrize("condition", parts.CONDITIONS)
def test_a_conditional_encoder_makes_no_vamp_prior(condition):
    if condition == "unconditional":
        build("diag", "vamp", "normal", "elbo", condition=condition)
    else:
        with pytest.raises(ValueError, match="need a condition for each u"):
            build("diag", "vamp", "normal", "elbo", condition=condition)
