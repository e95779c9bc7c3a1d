"""Pictures of tables: real rows against drawn ones."""

import parts
import pytest
from small_models import make_vae

from keras_vae import likelihoods, pictures


@pytest.fixture(scope="module")
def vae():
    made = make_vae(event_shape=(6,), likelihood=likelihoods.Mixed(parts.SCHEMA), missing=True, seed=0)
    made.adapt(parts.rows(64))
    return made


def test_every_column_has_a_panel_with_its_name(vae, tmp_path):
    x = parts.rows(64)
    x[:3, 0] = float("nan")
    figure = pictures.marginals(vae, x, path=tmp_path / "marginals.png")
    assert [axes.get_title() for axes in figure.axes] == list(parts.SCHEMA)
    colours = figure.axes[1].get_xticklabels()
    assert [label.get_text() for label in colours] == ["blue", "green", "red"]
    assert (tmp_path / "marginals.png").stat().st_size > 1000


def test_pairs_are_of_the_columns_that_depend_on_each_other_or_were_named(vae):
    figure = pictures.pairs(vae, parts.rows(64), columns=["height", "colour", "visits"])
    assert len(figure.axes) == 9
    assert [axes.get_xlabel() for axes in figure.axes[6:]] == ["height", "colour", "visits"]
    with pytest.raises(ValueError, match="no column 'weight'"):
        pictures.pairs(vae, parts.rows(64), columns=["weight"])


def test_models_of_other_data_are_refused():
    with pytest.raises(ValueError, match="a picture of tables, and Bernoulli"):
        pictures.marginals(make_vae(), parts.rows(4))
