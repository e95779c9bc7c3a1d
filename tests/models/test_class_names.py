"""Classes by name: from the data to the model, its conditions, its file and its pictures."""

import keras
import numpy as np
import parts
import pytest
import tensorflow as tf
from small_models import labelled_model, make_conditional

import keras_vae as kv
from keras_vae import conditions, data, evaluation, likelihoods, networks, pictures, posteriors, priors
from keras_vae.conditions import Label

NAMES = ("cats", "dogs", "größte Fische", "pets")
N = 24


@pytest.fixture(scope="module")
def x():
    return parts.data(likelihoods.Bernoulli(parts.SHAPE), N).round()


@pytest.fixture(scope="module")
def vae():
    made = labelled_model()
    made.name_classes(NAMES)
    return made


def dataset(x, names, classes=4):
    arrays = {"images": x, "labels": np.arange(N) % classes, "class_names": names}
    return data.load(arrays, 6, labels=True, value_range=(0, 1))[0]


def test_fit_takes_the_names_of_the_data_and_a_file_keeps_them(x, tmp_path):
    label = Label(4)
    made = kv.VAE(
        kv.Encoder(
            networks.mlp([4]),
            posteriors.JointPosterior(posteriors.MultivariateNormalDiag(2), posteriors.RelaxedOneHot(3)),
            label,
        ),
        kv.Decoder(networks.mlp([4]), likelihoods.Bernoulli(parts.SHAPE), label),
        priors.JointPrior(priors.ConditionalNormal(2, label), priors.UniformOneHot(3)),
    )
    made.compile("adam")
    made.fit(dataset(x, NAMES), epochs=1, verbose=0)
    assert made.condition.names == made.encoder.condition.names == made.prior.condition.names == NAMES
    assert label.names is None  # of another model it may be something else
    made.save(tmp_path / "vae.keras")
    for loaded in (keras.saving.load_model(tmp_path / "vae.keras"), kv.load(tmp_path / "vae.keras")):
        assert loaded.condition == made.condition and loaded.prior.continuous.condition.names == NAMES
        np.testing.assert_array_equal(loaded.sample(2, seed=0, condition="pets"), made.sample(2, seed=0, condition=3))
    with pytest.warns(UserWarning, match="The data name 3 classes, and the model has 4"):
        other = make_conditional(Label(4))
        other.compile("adam")
        other.fit(dataset(x, NAMES[:3], 3), verbose=0)
    assert other.condition.names is None


def test_a_name_stands_for_its_label_wherever_a_condition_is_given(vae, x):
    z, c = np.zeros((2, parts.L), "float32"), [3, 0]
    names = ["pets", "cats"]
    for given in (names, np.array(names), ("pets", 0), tf.constant(names), [b"pets", "cats"]):
        np.testing.assert_array_equal(vae.decode(z, given).mean(), vae.decode(z, c).mean())
    for call in (
        lambda c: vae.sample(2, seed=0, condition=c),
        lambda c: vae.generate(2, seed=0, condition=c).z,
        lambda c: vae.encode(x[:2], c).mean(),
        lambda c: vae.reconstruct(x[:2], c),
        lambda c: vae.log_prob(x[:2], 2, condition=c),
        lambda c: vae.predict({"image": x[:2], "condition": c if isinstance(c, list) else [c] * 2}, verbose=0),
        lambda c: vae(x[:2], condition=c),
    ):
        np.testing.assert_array_equal(call("pets"), call(3))
        np.testing.assert_array_equal(call(["pets", "gro\u0308ßte Fische"]), call([3, 2]))
    assert vae.evaluate(x, np.array(NAMES)[np.arange(N) % 4], verbose=0) == vae.evaluate(x, np.arange(N) % 4, verbose=0)


def test_an_unknown_name_says_which_there_are(vae):
    known = "The classes are 'cats', 'dogs', 'größte Fische', 'pets'"
    for name, guess in (("Pets ", "mean 'pets'?"), ("catz", "mean 'cats'?"), ("horse", "'horse'. The")):
        with pytest.raises(ValueError) as error:
            vae.sample(2, condition=name)
        assert guess in str(error.value) and known in str(error.value)
    with pytest.raises(ValueError, match="a name or an int, not True"):
        vae.sample(2, condition=["cats", True])
    with pytest.raises(ValueError, match="labels are 0 to 3"):
        vae.sample(2, condition=["cats", 4])
    many = make_conditional(Label(1000, [f"class {k}" for k in range(1000)]))
    with pytest.raises(ValueError, match=r"Did you mean 'class 99'.*, \.\.\. \(1,000 in all\)") as error:
        many.sample(1, condition="clas 99")
    assert len(str(error.value)) < 400
    assert str(many.condition) == "Label(1000: 'class 0', 'class 1', 'class 2', 'class 3', ... (1,000 in all))"


def test_names_that_look_like_numbers():
    digits = make_conditional(Label(3, ["0", "1", "2"]))
    sorted_as_texts = make_conditional(Label(3, ["0", "10", "2"]))
    z = np.zeros((1, parts.L))
    for model, name, label in ((digits, "2", 2), (sorted_as_texts, "10", 1), (sorted_as_texts, "2", 2)):
        np.testing.assert_array_equal(model.decode(z, name).mean(), model.decode(z, label).mean())
    assert str(digits.condition) == "Label(3)"
    with pytest.raises(ValueError, match="have no names"):
        make_conditional(Label(3)).decode(z, "2")


def test_data_whose_labels_mean_other_classes_are_refused_everywhere(vae, x, tmp_path):
    swapped = dataset(x, ("cats", "größte Fische", "dogs", "pets"))
    fewer = dataset(x, NAMES[:3], 3)
    for call in (
        vae.fit,
        lambda data: vae.fit(fewer, validation_data=data, verbose=0),
        vae.evaluate,
        vae.predict,
        vae.encode,
        vae.reconstruct,
        vae.log_prob,
        lambda data: evaluation.log_likelihood(vae, data, 2, verbose=False),
        lambda data: evaluation.diagnose(vae, data),
        lambda data: evaluation.evaluate(vae, data, num_samples=2, verbose=False),
        lambda data: pictures.reconstructions(vae, data),
        lambda data: pictures.answers(vae, data),
        lambda data: pictures.interpolations(vae, data),
        lambda data: pictures.traversals(vae, data),
        lambda data: pictures.latent_scatter(vae, data),
    ):
        with pytest.raises(ValueError, match=r"Label 1 is 'dogs' to the model, and 'größte Fische' in .*class_names="):
            call(swapped)
    vae.evaluate(fewer, verbose=0)
    arranged = data.load(
        {"images": x, "labels": np.array(["pets", "dogs"])[np.arange(N) % 2]}, 6, labels=True, class_names=NAMES
    )[0]
    assert {int(y) for _, labels in arranged for y in labels} == {1, 3}
    vae.evaluate(arranged, verbose=0)


def test_parts_agree_in_names_or_leave_them_to_each_other():
    with pytest.raises(ValueError, match=r"Label\(2: 'a', 'b'\).*Label\(2: 'b', 'a'\)"):
        named = make_conditional(Label(2, ["a", "b"]), prior=priors.ConditionalNormal(parts.L, Label(2, ["b", "a"])))
    named = make_conditional(Label(2), prior=priors.ConditionalNormal(parts.L, Label(2, ["b", "a"])))
    assert named.condition.names == named.encoder.condition.names == ("b", "a")
    named.name_classes(["c", "d"])
    assert named.get_config()["prior"]["config"]["condition"]["config"]["names"] == ["c", "d"]
    with pytest.raises(ValueError, match="a text for each of the 2 classes"):
        named.name_classes(["c"])
    with pytest.raises(ValueError, match="conditioned on None"):
        make_conditional(None).name_classes(["a"])
    assert Label.from_config({"num_classes": 3}) == Label(3)  # as in older files
    with pytest.raises(ValueError, match="do not say what their classes are called"):
        Label.of(tf.data.Dataset.range(3))


def test_pictures_name_the_classes(vae, x, tmp_path):
    named = dataset(x, NAMES)
    of_model = pictures.latent_scatter(vae, named)
    of_data = pictures.latent_scatter(make_conditional(None), named)
    for figure in (of_model, of_data):
        assert [text.get_text() for text in figure.legends[0].get_texts()] == list(NAMES)
    *rows, title = texts_of(pictures.samples(vae, 8))
    assert rows == list(NAMES) and title == "drawn from the model, a row for each class"
    *rows, title = texts_of(pictures.answers(vae, named, n=4))
    assert set(rows) <= {*NAMES, "truth", "answer"} and title == "the truth, and answers to its condition"
    assert set(texts_of(pictures.interpolations(vae, named, n=4))) & set(NAMES)
    assert any(
        text.startswith(NAMES) and "one dimension of z" in text for text in texts_of(pictures.traversals(vae, named))
    )
    pictures.samples(vae, 4, condition="pets", path=tmp_path / "pets.png")


def test_odd_and_many_names_are_drawn(tmp_path):
    long = [f"{'a' * 15}{k}{'a' * 15}" for k in (1, 2)]
    model = make_conditional(Label(6, ["_hidden", "$a$b$", "猫", *long, "b" * 40]))
    shortened = [f"{k} {'a' * 12}…{'a' * 11}" for k in (3, 4)]
    shown = ["_hidden", "$a$b$", "class 2", *shortened, f"{'b' * 12}…{'b' * 11}"]
    assert texts_of(pictures.samples(model, 6, path=tmp_path / "odd.png"))[:-1] == shown
    x = np.zeros((12, *parts.SHAPE), "float32")
    scatter = pictures.latent_scatter(model, (x, np.arange(12) % 6), path=tmp_path / "scatter.png")
    assert [text.get_text() for text in scatter.legends[0].get_texts()] == shown
    many = make_conditional(Label(1000))
    rows = texts_of(pictures.samples(many, path=tmp_path / "many.png"))
    assert rows[:2] == ["0", "32"] and rows[-2:] == ["999", "drawn from the model, 32 of 1000 classes"]


def texts_of(figure):
    return [text.get_text() for text in figure.texts]


def test_conditions_of_other_kinds_have_no_names():
    vector = make_conditional(conditions.Vector(2))
    with pytest.raises(ValueError):
        vector.sample(2, condition=["a", "b"])
    with pytest.raises(ValueError, match="conditioned on Vector"):
        vector.name_classes(["a", "b"])
