"""What objectives share that ask more of the aggregate posterior q(z) = 1/N sum_n q(z|x_n) over its dimensions.

What they estimate from a minibatch is biased or noisy, and is not logged as if it were a result: the total correlation
of a trained model is `aggregate_posterior(vae, data).total_correlation`, from all of the data.
"""

from tensorflow_probability import distributions as tfd

from keras_vae.distributions.gaussian import dimensions
from keras_vae.objectives.objective import Objective
from keras_vae.terms import LatentGroup, Terms


class Regularizer(Objective):
    """An objective that needs the marginals of q(z|x) over single dimensions, for one group of latents."""

    uses_marginals = True
    is_of_one_level = True

    def _group(self, terms: Terms) -> LatentGroup:
        if len(terms.groups) != 1:
            raise ValueError(
                f"{type(self).__name__} is defined for one group of continuous latents, and this model has "
                f"{len(terms.groups)}."
            )
        return terms.groups[0]


def require_marginals(q: tfd.Distribution) -> tfd.Distribution:
    """The marginals of a posterior over single dimensions, batch [B, L].

    Raises:
        ValueError: where they have no closed form.
    """
    found = dimensions(q)
    if found is None:
        raise ValueError(
            f"The marginals of {type(q).__name__} over single dimensions have no closed form: use a Gaussian "
            "posterior, such as posteriors.MultivariateNormalDiag."
        )
    return found
