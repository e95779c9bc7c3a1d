"""Which parts make a VAE together: equal latent dimensions, supports and tails that fit, densities where needed."""

import itertools
import math
import warnings
from inspect import getattr_static
from typing import Any

from keras_vae.arguments import require_kind
from keras_vae.distributions.tails.lookup import SURFACES, UNKNOWN, LookedUp, surface
from keras_vae.distributions.tails.tail import HEAVIEST
from keras_vae.models.decoder import Decoder
from keras_vae.models.encoder import Encoder
from keras_vae.objectives.objective import LOGGED, Objective
from keras_vae.posteriors.posterior import Posterior, fitting
from keras_vae.priors.normal import StandardNormal
from keras_vae.priors.prior import Prior


def check_parts(encoder: Any, decoder: Any, prior: Any, objective: Any) -> None:
    """Refuse parts that are of the wrong kind or cannot work together.

    Raises:
        TypeError: for a part of the wrong kind.
        ValueError: for different latent dimensions, a support outside the prior's, a missing density, different
            conditions, half a hierarchy, an objective that monitors a number it does not log.
    """
    expected = {"encoder": Encoder, "decoder": Decoder, "prior": Prior, "objective": Objective}
    given = {"encoder": encoder, "decoder": decoder, "prior": prior, "objective": objective}
    for name, part in given.items():
        require_kind(name, part, expected[name], f"a keras_vae {name}")
    posterior = encoder.posterior
    if posterior.is_of_maps:
        raise ValueError(
            "A flow with a kernel_size is of maps, the levels of a hierarchy below the top. The top's z is a vector: "
            "give it to the LadderDecoder, or leave kernel_size at 1."
        )
    check_pair(posterior, prior)
    if not posterior.has_density and objective.uses_prior:
        raise ValueError(
            f"A {type(posterior).__name__} posterior has no density, so that log q(z|x) and KL(q || p), of which "
            f"{type(objective).__name__} is made, do not exist. Give the VAE "
            "objective=objectives.Reconstruction(), which makes a plain autoencoder, or a posterior with a density, "
            "such as MultivariateNormalDiag."
        )
    if encoder.gives_features != decoder.needs_features:
        raise ValueError(
            "The levels of a hierarchy meet between encoder and decoder: give a kv.LadderEncoder and a "
            "kv.LadderDecoder together, or neither."
        )
    if decoder.needs_features and objective.is_of_one_level:
        raise ValueError(
            f"{type(objective).__name__} is of one level of latents, and would leave out what the levels below the top "
            "carry: give an Encoder and a Decoder, or for a hierarchy objectives.ELBO."
        )
    inverts = "pathwise" in objective.needs or objective.backward_samples is not None
    if inverts and decoder.has_flow_of_maps:
        raise ValueError(
            "The stl and dreg estimators and backward_samples invert a flow, and one with a kernel_size takes a pass "
            "for each number of a map: leave kernel_size at 1, or give objectives.ELBO or "
            "objectives.ImportanceWeighted(num_samples)."
        )
    conditions = {name: part.condition for name, part in given.items() if getattr(part, "condition", None) is not None}
    if not all(a.agrees(b) for a, b in itertools.combinations(conditions.values(), 2)):
        named = ", ".join(f"{name} {condition}" for name, condition in conditions.items())
        raise ValueError(f"The parts of a model have one condition, or none; here: {named}.")
    if encoder.condition is not None and prior.uses_encoder:
        raise ValueError(
            f"{type(prior).__name__} is made of posteriors q(z|u), and those of a conditional encoder need a "
            "condition for each u: give priors.ConditionalNormal, or leave the condition out of the encoder."
        )
    if objective.monitor not in ("loss", *LOGGED, *objective.metric_names):
        raise ValueError(
            f"{type(objective).__name__} chooses the best model by {objective.monitor!r}, which is not logged: monitor "
            f"one of {', '.join(('loss', *LOGGED, *objective.metric_names))}, or add the name to metric_names."
        )
    missing = objective.needs - {"pathwise"} - posterior.extras
    if missing:
        raise ValueError(
            f"{type(objective).__name__} needs the {', '.join(sorted(missing))} of the posterior, and "
            f"{type(posterior).__name__} has none: it goes with posteriors.VectorQuantized."
        )
    if objective.uses_marginals and not posterior.has_marginals:
        raise ValueError(
            f"{type(objective).__name__} needs the marginals of q(z|x) over single dimensions, which have no closed "
            f"form for {type(posterior).__name__}: use a Gaussian posterior, such as MultivariateNormalDiag."
        )


def check_pair(posterior: Posterior, prior: Prior) -> None:
    """Refuse a posterior and a prior whose densities cannot be compared.

    Raises:
        ValueError: for different latent dimensions, and a support or tails outside the prior's.
    """
    if posterior.latent_dim != prior.latent_dim:
        raise ValueError(
            f"The posterior has {posterior.latent_dim} latent dimensions and the prior {prior.latent_dim}: "
            "give both the same latent_dim."
        )
    if posterior.blocks != prior.blocks:
        raise ValueError(
            f"The posterior's z is {_described(posterior.blocks)}, and the prior's is {_described(prior.blocks)}: "
            "densities of the two cannot be compared. A RelaxedOneHot goes with a UniformOneHot, a JointPosterior with "
            "a JointPrior of the same parts."
        )
    for block, (inner, outer) in enumerate(zip(posterior.supports, prior.supports, strict=True)):
        if not outer.contains(inner):
            named = "" if len(prior.blocks) == 1 else f" in block {block + 1} of {len(prior.blocks)}"
            raise ValueError(
                f"The posterior {type(posterior).__name__} has its support on {inner}{named}, which is not inside the "
                f"support of the prior {type(prior).__name__}, {outer}: KL(q || p) would be infinite. Posteriors "
                f"that fit: {', '.join(fitting(outer))}."
            )
    check_tails(posterior, prior)


def check_level_posterior(posterior: Any, adds_precisions: bool) -> None:
    """Refuse, for the levels of a hierarchy below the top, what is no posterior beside a Gaussian prior.

    Args:
        posterior: the part; None for the levels' own.
        adds_precisions: whether it is to be multiplied by the prior.

    Raises:
        TypeError: for another part.
        ValueError: naming what does not go together.
    """
    if posterior is None:
        return
    require_kind("posterior", posterior, Posterior, "a posterior such as posteriors.MultivariateNormalTriL(16)")
    check_pair(posterior, StandardNormal(posterior.latent_dim))
    if not posterior.has_density or posterior.extras:
        raise ValueError(
            f"The levels of a hierarchy below the top have a KL to a Gaussian prior, and {type(posterior).__name__} "
            "has none of that kind: take a Gaussian posterior, or a flow."
        )
    if adds_precisions and not posterior.adds_precisions:
        raise ValueError(
            f"bidirectional adds the precisions of diagonal Gaussians, and {type(posterior).__name__} is none and has "
            "none as its base: take posteriors.MultivariateNormalDiag or a flow of it, or leave bidirectional=False."
        )


def check_missing(vae: Any) -> None:
    """Refuse missing values where nothing could be said of the others alone.

    Raises:
        ValueError: naming the part that is in the way.
    """
    likelihood = vae.decoder.likelihood
    if not vae.missing:
        if likelihood.missing or vae.encoder.missing:
            raise ValueError("These parts are of a model with missing values: VAE(..., missing=True).")
        return
    if vae.targets:
        raise ValueError("targets=True and missing=True: the encoder of a pair sees x whole. Give one of the two.")
    if not vae.takes_missing:
        raise ValueError(
            f"{type(vae).__name__} knows of no missing values: its other networks, or codes, would see them as numbers."
        )
    if vae.objective.networks:
        raise ValueError(
            f"{type(vae.objective).__name__} compares pictures by their features, and pictures with holes have none: "
            "give objectives.ELBO()."
        )
    if not likelihood.can_miss:
        raise ValueError(
            f"{type(likelihood).__name__} does not say what some values alone tell: give a likelihood whose values are "
            "independent given z, such as likelihoods.Normal."
        )


def check_tails(posterior: Posterior, prior: Prior, tell_unknown: bool = False) -> None:
    """Refuse a posterior whose tails the prior cannot carry: E_q[-log p], and with it KL(q || p), is then infinite.

    Args:
        posterior: of which q is.
        prior: p.
        tell_unknown: whether to warn where nobody knows the tails; those of a prior may be known once it is built.

    Raises:
        ValueError: naming both tails.
    """
    _check_distribution(posterior)
    _check_surfaces(posterior, prior)
    blocks = zip(
        (kind for kind, _ in posterior.blocks),
        posterior.densities,
        posterior.supports,
        prior.supports,
        posterior.tails_of_blocks,
        prior.tails_of_blocks,
        strict=False,  # a subclass may have put blocks behind those of the posterior
    )
    for kind, has_density, inner, outer, q, p in blocks:
        if kind != "continuous" or not has_density or prior.uses_encoder:
            continue
        for end in ("low", "high"):
            if getattr(inner, end) != getattr(outer, end):
                continue  # inside of the support of p, log p is finite
            tail, carrier = getattr(q, end, None), getattr(p, end, None)
            at, u = _named(end, getattr(outer, end))
            if carrier is not None and carrier.carries(tail or HEAVIEST):
                continue
            if tail is not None and carrier is not None:
                raise ValueError(
                    f"The tail of the posterior {type(posterior).__name__} at {at} is too heavy for the prior "
                    f"{type(prior).__name__}: with u = {u}, q has {tail} and p {carrier}, so that E_q[-log p(z)] and "
                    "KL(q || p) are infinite. Bound what makes q heavy (the df of a Student t above 2 for a Gaussian "
                    "prior), take a posterior of lighter tails such as MultivariateNormalDiag, or a prior of heavier "
                    "ones. If this part's tails are others than TFP's classes say, declare them: tails = "
                    "posteriors.Tails.power(2)."
                )
            if tell_unknown:
                part = posterior if tail is None else prior
                warnings.warn(
                    f"Nothing is known of the tails of {type(part).__name__}, so that KL(q || p) may be infinite "
                    "without a sign of it: Cauchy against normal is. Declare them beside distribution(), such as "
                    "tails = posteriors.Tails.power(2) for tails as a Gaussian's, and support if it is not the whole "
                    "line; evaluation.diagnose looks at the draws.",
                    stacklevel=2,
                )
                return


def _check_distribution(posterior: Posterior) -> None:
    """Refuse a distribution of a user's own that draws without a gradient, or that is no vector of L numbers."""
    found = posterior.region if isinstance(getattr_static(posterior, "tails"), LookedUp) else UNKNOWN
    if found.undrawn and posterior.has_density:
        raise ValueError(
            f"Draws of the {found.undrawn} of {type(posterior).__name__} have no gradient (TFP calls it "
            "NOT_REPARAMETERIZED), so that the encoder would learn from a wrong one. Take a distribution that is "
            "FULLY_REPARAMETERIZED, such as Normal, Laplace, StudentT, LogNormal, Beta or Kumaraswamy; a mixture with "
            "reparameterize=True; for classes, posteriors.RelaxedOneHot."
        )
    shape = (posterior.latent_dim,)
    if found.event_shape not in (None, shape, (None,)):
        raise ValueError(
            f"The distribution of {type(posterior).__name__} has event shape {found.event_shape}, and that of one z is "
            f"{shape}: wrap independent numbers as tfd.Independent(distribution, 1)."
        )


def _check_surfaces(posterior: Posterior, prior: Prior) -> None:
    q, p = (surface(part) for part in (posterior, prior))
    if q != p and not prior.uses_encoder:
        part, found = (posterior, q) if q else (prior, p)
        raise ValueError(
            f"{type(part).__name__} is a distribution on {SURFACES[found]} ({found}), which fills no part of the "
            "space of the other: densities of the two cannot be compared, and KL(q || p) is infinite. Give both "
            f"posterior and prior a {found}, or take a posterior on the whole line, such as MultivariateNormalDiag."
        )


def _named(end: str, value: float) -> tuple[str, str]:
    at = "infinity" if value == math.inf else "-infinity" if value == -math.inf else f"{value:g}"
    return at, "|z|" if math.isinf(value) else f"1 / |z - {value:g}|"


def _described(blocks: tuple[tuple[str, int], ...]) -> str:
    return " and ".join(f"a one-hot of {n}" if kind == "one-hot" else f"{n} {kind} dimensions" for kind, n in blocks)
