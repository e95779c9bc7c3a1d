"""Any posterior x any prior x any likelihood x any objective x any network, in every precision and mode."""

import functools
import itertools
import random

import keras
import numpy as np
import parts
import pytest
import tensorflow as tf

import keras_vae as kv

FACTORS = {
    "posterior": list(parts.POSTERIORS),
    "likelihood": list(parts.LIKELIHOODS),
    # The commitment goes with one posterior alone: its pairs would be rows of their own. See test_quantization.py.
    "objective": [name for name in parts.OBJECTIVES if name != "committed"],
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


@functools.cache
def refusal(posterior, prior, objective):
    """The error with which `VAE` refuses three parts, or None. A condition is refused only by a VampPrior."""
    try:
        vae = build(posterior, prior, "normal", objective)
        if (posterior, prior) == ("deterministic", "vamp"):
            vae.build()
            vae.prior.distribution(encoder=vae.encoder)  # a mixture of posteriors needs their densities
    except ValueError as error:
        return str(error)
    return None


@functools.cache
def is_for_levels(objective):
    """Whether an objective takes a hierarchy, with any posterior and prior: it may see that only when it is called."""
    try:
        vae = build("diag", "standard_normal", "normal", objective, "ladder_mlp")
        vae.objective(vae.infer(np.zeros((1, *parts.SHAPE)), vae.objective.num_samples, 0), tf.constant(0, tf.int64))
    except ValueError:
        return False
    return True


def allowed(row):
    """Whether the parts in `row` can be part of a VAE, by the rules of the VAE itself."""
    if row.get("prior") == "vamp" and row.get("condition", "unconditional") != "unconditional":
        return False
    choices = [[row[name]] if name in row else FACTORS[name] for name in ("posterior", "prior", "objective")]
    if parts.is_ladder(row.get("network", "")):
        choices[2] = list(filter(is_for_levels, choices[2]))
    return any(refusal(*triple) is None for triple in itertools.product(*choices))


def fixed_objective(vae, x, c, step):
    """A function that gives the objective of all data, each time with the same noise and at the same step."""

    @tf.function
    def one(seed):
        terms = vae.infer(x, vae.objective.num_samples, seed, condition=c)
        return vae.objective(terms, tf.constant(step, tf.int64))[0]

    return lambda: float(np.mean([one(tf.constant([seed, 0])) for seed in range(DRAWS)]))


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
    assert samples.shape == (3, *parts.SHAPE)
    assert np.all(np.isfinite(samples))
    support = vae.decoder.likelihood.support
    assert support.low <= samples.min() and samples.max() <= support.high


ROWS = parts.pairwise(FACTORS, allowed)


@pytest.mark.parametrize("row", ROWS, ids=["-".join(row.values()) for row in ROWS])
def test_every_pair_of_parts_trains_saves_and_samples(row, tmp_path):
    check(row, tmp_path)


def test_the_rows_cover_every_pair_and_leave_out_only_what_is_refused():
    covered = {pair for row in ROWS for pair in itertools.combinations(sorted(row.items()), 2)}
    for a, b in itertools.combinations(sorted(FACTORS), 2):
        for u, v in itertools.product(FACTORS[a], FACTORS[b]):
            assert (((a, u), (b, v)) in covered) == allowed({a: u, b: v})
    assert len(ROWS) < 120


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


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS), ids="shard_{:03d}".format)
def test_the_full_product(shard, tmp_path):
    """One of `SHARDS` parts of the product: `pytest -m slow -k shard_017` runs the rows of one."""
    failures = []
    for row in full_product()[shard::SHARDS]:
        keras.backend.clear_session()
        try:
            check(row, tmp_path)
        except Exception as error:
            failures.append(f"{'-'.join(row.values())}: {type(error).__name__}: {error}")
    assert not failures, "\n".join(failures)


def test_only_what_has_no_meaning_is_refused():
    triples = itertools.product(FACTORS["posterior"], FACTORS["prior"], FACTORS["objective"])
    for posterior, prior, objective in triples:
        reason = refusal(posterior, prior, objective)
        if parts.PRIOR_OF.get(posterior) != prior and {posterior, prior} & {*parts.DISCRETE, "codes"}:
            assert "cannot be compared" in reason
        elif prior == "uniform" and posterior != "kumaraswamy":
            assert "KL(q || p) would be infinite" in reason
            assert "Kumaraswamy(latent_dim" in reason
        elif posterior == "deterministic" and objective != "reconstruction":
            assert "objectives.Reconstruction()" in reason
        elif posterior in ("iaf", "coupling", *parts.DISCRETE) and objective in ("total_correlation", "dip"):
            assert "no closed form" in reason
        elif posterior == "deterministic" and prior == "vamp":
            assert "VampPrior is a mixture of the densities" in reason
        else:
            assert reason is None


@pytest.mark.parametrize("condition", parts.CONDITIONS)
def test_a_conditional_encoder_makes_no_vamp_prior(condition):
    if condition == "unconditional":
        build("diag", "vamp", "normal", "elbo", condition=condition)
    else:
        with pytest.raises(ValueError, match="need a condition for each u"):
            build("diag", "vamp", "normal", "elbo", condition=condition)
