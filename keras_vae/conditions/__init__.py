"""What a model is conditioned on: class labels, vectors, images.

A condition is a recipe, like a network: it knows the shape and the range of its values, and how a network sees them. It
owns no weights. Encoder, decoder and prior each take it, or not:

    digit = conditions.Label(10)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([256]), posteriors.MultivariateNormalDiag(16), condition=digit),
        kv.Decoder(networks.mlp([256]), likelihoods.Bernoulli((28, 28, 1)), condition=digit),
        priors.StandardNormal(16),  # or priors.ConditionalNormal(16, digit)
    )
    vae.fit(images, labels)  # or {"image": images, "condition": labels}, or a dataset of either
    vae.sample(16, condition=7)

Columns of a table are a condition as they stand there: `TableColumns.of(train)`, and then
`vae.sample(16, condition={"age": 40})`.

Classes may have names: those of the data that a model is fitted to, or of `Label(2, names=["cats", "dogs"])`. A name
then stands for its label wherever a condition is given, as in `vae.sample(16, condition="cats")`.

That is the conditional VAE of Sohn et al. 2015, "Learning structured output representation using deep conditional
generative models": log p(x|c) >= E_q(z|x,c)[log p(x|z,c)] - KL(q(z|x,c) || p(z|c)).
"""

from keras_vae.conditions.columns import TableColumns
from keras_vae.conditions.condition import Condition, Image, Label, Vector
from keras_vae.conditions.handed import (
    check_condition,
    check_names_of,
    condition_for,
    given,
    rename,
    require,
)

__all__ = [
    "Condition",
    "Image",
    "Label",
    "TableColumns",
    "Vector",
    "check_condition",
    "check_names_of",
    "condition_for",
    "given",
    "rename",
    "require",
]
