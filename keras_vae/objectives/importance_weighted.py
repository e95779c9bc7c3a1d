"""The importance-weighted bound, with the gradient estimators IWAE, STL and DReG."""

import math

import tensorflow as tf

from keras_vae.arguments import check_choice, check_count
from keras_vae.objectives.objective import Objective
from keras_vae.serialization import register
from keras_vae.terms import Terms


@register
class ImportanceWeighted(Objective):
    """loss = -log 1/K sum_k w_k, w_k = p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x).

    A bound on log p(x) that is tighter than the ELBO: Burda et al. 2016, "Importance weighted autoencoders". Its value
    is the same for all estimators of the gradient. With v_k = w_k / sum_j w_j, decoder and prior always receive
    sum_k v_k d log w_k, and the encoder

    - "iwae": the same, through z and through the parameters of q;
    - "stl": sum_k v_k (d log w_k / dz) dz_k, through z only: Roeder et al. 2017, "Sticking the landing". Unbiased for
      K = 1; biased for K > 1;
    - "dreg": sum_k v_k^2 (d log w_k / dz) dz_k, unbiased, and better with growing K: Tucker et al. 2019, "Doubly
      reparameterized gradient estimators for Monte Carlo objectives".

    The last two vanish where q is the true posterior, which is why they are less noisy; they cost one more pass back
    through the decoder, and need a posterior with reparameterised draws. They take log q at a z whose origin is
    forgotten: a flow is inverted, which takes L - 1 passes for each "iaf" layer, one for each "coupling" layer.

    The bound is logged as `bound`, and decides which model is the best: the ELBO falls while the bound rises, as
    q(z|x) spreads over what K draws can cover.

    Args:
        num_samples: number K of draws from the posterior.
        estimator: "iwae", "stl" or "dreg".
        backward_samples: number M of draws through which gradients go, chosen with probabilities v_k, in place of all
            K: sum_k v_k g_k becomes a mean of M of the g_k, and v_k is left out of the formulas above once. Unbiased
            (Burda et al. 2016, section 3), and noisier. A step then costs K passes forward and M both ways. Most of the
            v_k are near 0 where K is large, so that little is lost with M = 5 of 50. Of flows, log q is taken by their
            inverse. None for all.

    Raises:
        ValueError: for an unknown estimator, and numbers that are not ints from 1 on, or M above K.
    """

    ESTIMATORS = ("iwae", "stl", "dreg")
    metric_names = ("bound",)
    monitor = "bound"

    def __init__(self, num_samples: int, estimator: str = "iwae", backward_samples: int | None = None) -> None:
        check_choice("estimator", estimator, self.ESTIMATORS)
        self.num_samples, self.estimator = check_count("num_samples", num_samples), estimator
        if backward_samples is not None:
            check_count("backward_samples", backward_samples, at_most=self.num_samples)
        self.backward_samples = backward_samples
        self.needs = frozenset() if estimator == "iwae" else frozenset({"pathwise"})

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, and the bound."""
        bound = tf.reduce_logsumexp(terms.log_weights, axis=0) - math.log(self.num_samples)
        if terms.few is not None:
            # The mean of M draws has the gradient, all K the value.
            few, shares = terms.few, terms.shares
            paths = few.log_weights if few.pathwise is None else few.log_weights + self._of_path(few.pathwise, shares)
            moved = tf.reduce_mean(paths, axis=0)
            bound = tf.stop_gradient(bound - moved) + moved
        elif terms.pathwise is not None:
            # Here the weights know only decoder and prior; the path, zero in value, brings the gradient of the encoder.
            shares = tf.stop_gradient(tf.nn.softmax(terms.log_weights, axis=0))
            bound += tf.reduce_sum(shares * self._of_path(terms.pathwise, shares), axis=0)
        mean = terms.mean(bound)
        return -mean, {"bound": mean}

    def _of_path(self, pathwise: tf.Tensor, shares: tf.Tensor | None) -> tf.Tensor:
        """What stands beside v_k in the gradient of the encoder."""
        return pathwise if self.estimator == "stl" else shares * pathwise
