"""Which parts make a VAE together: equal latent dimensions, supports inside each other, densities where needed."""

from typing import Any

from keras_vae.arguments import require_kind
from keras_vae.models.decoder import Decoder
from keras_vae.models.encoder import Encoder
from keras_vae.objectives.objective import LOGGED, Objective
from keras_vae.posteriors.posterior import fitting
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
    if decoder.needs_features and "pathwise" in objective.needs:
        raise ValueError(
            "The stl and dreg estimators are of one level of latents: for a hierarchy give objectives.ELBO or "
            'objectives.ImportanceWeighted(num_samples, estimator="iwae").'
        )
    conditions = {name: part.condition for name, part in given.items() if getattr(part, "condition", None) is not None}
    if any(condition != next(iter(conditions.values())) for condition in conditions.values()):
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


def _described(blocks: tuple[tuple[str, int], ...]) -> str:
    return " and ".join(f"a one-hot of {n}" if kind == "one-hot" else f"{n} {kind} dimensions" for kind, n in blocks)
