"""Configs follow from constructors."""

import inspect
import json

import keras
import parts
import pytest

import keras_vae as kv
from keras_vae import networks, objectives, posteriors
from keras_vae.schedules import Linear
from keras_vae.serialization import Serializable
from keras_vae_cli import catalogue


def round_trip(part):
    return keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(part))


def as_in_a_file(part):
    """A config in JSON, which knows no tuples."""
    return json.loads(json.dumps(keras.saving.serialize_keras_object(part)))


ROWS = [pytest.param(kind, name, id=f"{kind}-{name}") for kind, table in parts.TABLES.items() for name in table]


@pytest.mark.parametrize(("kind", "name"), ROWS)
def test_every_part_comes_back_from_its_config_with_every_argument(kind, name):
    part = parts.TABLES[kind][name]()
    config = as_in_a_file(part)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(part)
    assert as_in_a_file(again) == config
    # And nothing is lost on the way there: networks are made by functions, of which the recipe's class has no argument.
    signature = inspect.signature(type(part)).parameters.values()
    assert {p.name for p in signature if p.kind is not p.VAR_KEYWORD} <= set(config["config"])


def test_every_part_of_the_catalogue_has_a_line_in_the_table():
    catalogued = catalogue.parts()
    assert set(parts.TABLES) == set(catalogued)
    for kind, table in parts.TABLES.items():
        # What a config calls a network is the function that makes it.
        rows = set(table) if kind == "network" else {type(make()).__name__ for make in table.values()}
        assert set(catalogued[kind]) <= rows, kind


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
