"""Configs follow from constructors."""

import keras
import pytest

import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors
from keras_vae.schedules import Cyclical, Linear
from keras_vae.serialization import Serializable


def round_trip(part):
    return keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(part))


@pytest.mark.parametrize(
    "part, names",
    [
        (networks.conv([4, 8], kernel_size=3, activation="gelu"), ["filters", "kernel_size", "activation"]),
        (posteriors.MultivariateNormalDiag(7), ["latent_dim"]),
        (likelihoods.Normal((3, 2, 1), scale=0.3), ["event_shape", "scale"]),
        (objectives.ELBO(2.0, free_bits=0.5, num_samples=3), ["kl_weight", "free_bits", "num_samples"]),
        (Cyclical(10, ramp=0.2, end=3.0), ["period", "ramp", "start", "end"]),
    ],
    ids=lambda p: type(p).__name__,
)
def test_parts_come_back_with_every_argument(part, names):
    back = round_trip(part)
    for name in names:
        assert getattr(back, name) == getattr(part, name)


def test_parts_inside_parts():
    objective = objectives.ELBO(kl_weight=Linear(5, start=0.1))
    assert round_trip(objective).kl_weight.start == 0.1
    keras_schedule = keras.optimizers.schedules.PolynomialDecay(0.0, 100, 1.0)
    assert float(round_trip(objectives.ELBO(kl_weight=keras_schedule)).kl_weight(50)) == pytest.approx(0.5)


def test_the_dtype_policy_is_kept_by_networks_and_is_float32_in_heads():
    encoder = kv.Encoder(networks.mlp([3]), posteriors.MultivariateNormalDiag(2), dtype="mixed_bfloat16")
    back = round_trip(encoder)
    back.build((None, 5))
    assert back.dtype_policy.name == "mixed_bfloat16"
    assert back.body.layers[-1].compute_dtype == "bfloat16"
    assert back.posterior.projection.compute_dtype == "float32"


def test_what_a_config_cannot_name_is_refused():
    class Wrong(Serializable):
        def __init__(self, *sizes):
            self.sizes = sizes

    with pytest.raises(TypeError, match="keyword"):
        Wrong(1, 2)


def test_a_wrong_call_names_the_class():
    with pytest.raises(TypeError, match=r"MultivariateNormalDiag\(\).*latent_dim"):
        posteriors.MultivariateNormalDiag()


def test_classes_of_users_are_registered_under_their_own_package():
    @kv.register
    class Mine(objectives.ELBO):
        pass

    assert keras.saving.get_registered_name(Mine) == f"{__name__.split('.')[0]}>Mine"
    assert type(round_trip(Mine(kl_weight=3.0))) is Mine
