"""Pictures are read back as pixels."""

import logging

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import evaluation, likelihoods, networks, objectives, pictures, posteriors, priors
from keras_vae.pictures import of_clusters, of_models, tiles


def make(shape, latent_dim=2, posterior=None, prior=None, objective=None, likelihood=None) -> kv.VAE:
    vae = kv.VAE(
        kv.Encoder(networks.mlp([8]), posterior or posteriors.MultivariateNormalDiag(latent_dim)),
        kv.Decoder(networks.mlp([8]), likelihood or likelihoods.Normal(shape, scale=0.1)),
        prior or priors.StandardNormal(latent_dim),
        objective,
        seed=0,
    )
    vae.build()
    return vae


def pixels(path) -> np.ndarray:
    with PIL.Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def drawn(figure, tmp_path) -> np.ndarray:
    tiles.saved(figure, tmp_path / "x.png")
    return pixels(tmp_path / "x.png")


def cells(picture: np.ndarray, rows: int, columns: int, height: int, width: int, left: int = 6, top: int = 6):
    """The pixels of the tiles again, [R, C, H, W, 3], of a grid that begins at a place."""
    gap = tiles.GAP
    scale = max(1, min(tiles.WIDTH // (columns * width), tiles.HEIGHT // (rows * height), 11))
    block, step = picture[top:, left:], (height * scale + gap, width * scale + gap)
    return np.array(
        [
            [
                block[
                    r * step[0] : r * step[0] + height * scale : scale,
                    c * step[1] : c * step[1] + width * scale : scale,
                ]
                for c in range(columns)
            ]
            for r in range(rows)
        ]
    )


def corner(figure) -> dict[str, int]:
    """Where the grid begins, in pixels."""
    width, height = (round(size * tiles.DPI) for size in figure.get_size_inches())
    place = figure.axes[0].get_position()
    return {"left": round(place.x0 * width), "top": round((1.0 - place.y1) * height)}


@pytest.fixture(autouse=True)
def squares(monkeypatch):
    """Small images keep their pixels, which these tests read."""
    monkeypatch.setattr(tiles, "SMOOTH", 0)


def test_small_images_are_enlarged_smoothly(monkeypatch, tmp_path):
    monkeypatch.undo()
    ramp = np.broadcast_to(np.linspace(0.0, 1.0, tiles.SMOOTH)[:, None], (tiles.SMOOTH,) * 2)
    small = drawn(tiles.draw_tiles(ramp[None, None, :, :, None]), tmp_path)[6:-6, 6:-6, 0].astype(int)
    assert small.shape[0] >= 11 * tiles.SMOOTH and np.abs(np.diff(small[:, 0])).max() < 10
    large = np.broadcast_to(np.linspace(0.0, 1.0, 2 * tiles.SMOOTH)[:, None], (2 * tiles.SMOOTH,) * 2)
    steps = np.abs(np.diff(drawn(tiles.draw_tiles(large[None, None, :, :, None]), tmp_path)[6:-6, 6, 0].astype(int)))
    assert (steps > 0).sum() == 2 * tiles.SMOOTH - 1


@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_of_an_image_is_on_the_screen(channels, tmp_path):
    images = np.random.default_rng(0).random((2, 3, 5, 4, channels)).astype("float32")
    picture = drawn(tiles.draw_tiles(images), tmp_path)
    expected = np.broadcast_to(np.round(255 * images), (2, 3, 5, 4, 3))
    np.testing.assert_array_equal(cells(picture, 2, 3, 5, 4), expected)


def test_margins_are_white_and_values_are_clipped(tmp_path):
    images = np.stack([np.full((4, 4, 1), -3.0), np.full((4, 4, 1), 7.0), np.full((4, 4, 1), np.nan)])[None]
    picture = drawn(tiles.draw_tiles(images), tmp_path)
    assert (picture[:6] == 255).all()
    assert (picture[-6:] == 255).all()
    assert (picture[:, :6] == 255).all()
    found = cells(picture, 1, 3, 4, 4)
    assert (found[0, 0] == 0).all()
    assert (found[0, 1] == 255).all()
    assert (found[0, 2] == 255).all()  # nothing there


def test_a_broken_pixel_is_red(tmp_path):
    images = np.zeros((1, 1, 4, 4, 1))
    images[0, 0, 1, 2] = np.nan
    found = cells(drawn(tiles.draw_tiles(images), tmp_path), 1, 1, 4, 4)
    np.testing.assert_array_equal(found[0, 0, 1, 2], [255, 0, 0])
    assert (found[0, 0, 0] == 0).all()


def test_other_channels_stand_side_by_side(tmp_path):
    image = np.zeros((1, 1, 3, 3, 2))
    image[..., 1] = 1.0
    found = cells(drawn(tiles.draw_tiles(image), tmp_path), 1, 1, 3, 6)[0, 0]
    assert (found[:, :3] == 0).all()
    assert (found[:, 3:] == 255).all()


def test_another_value_range(tmp_path):
    found = cells(drawn(tiles.draw_tiles(np.zeros((1, 1, 4, 4, 1)), value_range=(-1, 1)), tmp_path), 1, 1, 4, 4)
    assert (found == 128).all()


def test_reconstructions_show_data_above_means(tmp_path):
    vae = make((6, 5, 1))
    x = np.random.default_rng(0).random((3, 6, 5, 1)).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((x, [0, 1, 2])).batch(2)
    figure = pictures.reconstructions(vae, dataset, n=3, path=tmp_path / "deep" / "r.png")
    picture = pixels(tmp_path / "deep" / "r.png")
    found = cells(picture, 2, 3, 6, 5, **corner(figure))
    np.testing.assert_array_equal(found[0, ..., 0], np.round(255 * x[..., 0]))
    np.testing.assert_allclose(found[1, ..., 0], np.clip(255 * vae.reconstruct(x)[..., 0], 0, 255), atol=1)
    assert [text.get_text() for text in figure.texts][:2] == ["data", "model"]
    assert not any(axes.axison for axes in figure.axes)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["r.png"]


def test_samples_are_those_of_the_model(tmp_path):
    vae = make((6, 5, 1))
    figure = pictures.samples(vae, n=4, seed=7, path=tmp_path / "s.png")
    found = cells(pixels(tmp_path / "s.png"), 2, 2, 6, 5, **corner(figure)).reshape(4, 6, 5, 3)[..., 0]
    np.testing.assert_allclose(found, np.clip(255 * vae.sample(4, seed=7)[..., 0], 0, 255), atol=1)


@pytest.mark.parametrize("kind", ["per_pixel", "levels"])
def test_means_draws_and_deviations_stand_side_by_side(kind, tmp_path):
    shape = (6, 5, 1)
    made = {
        "per_pixel": lambda: likelihoods.Normal(shape, scale="per_pixel"),
        "levels": lambda: likelihoods.DiscretizedLogistic(shape, 16),
    }
    vae = make(shape, likelihood=made[kind]())
    figure = pictures.spread(vae, n=3, seed=7, path=tmp_path / "s.png")
    picture = pixels(tmp_path / "s.png")
    mean, drawn_once, deviation = cells(picture, 3, 3, 6, 5, **corner(figure))[..., 0]
    p = vae.generate(3, seed=7).likelihood
    np.testing.assert_allclose(mean, np.clip(255 * vae.sample(3, seed=7)[..., 0], 0, 255), atol=1)
    assert np.abs(drawn_once.astype(int) - mean).max() > 10
    many = np.asarray(p.sample(4000, seed=[0, 1])).std(axis=0)[..., 0]
    np.testing.assert_allclose(deviation / 255, many / many.max(), atol=0.05 if kind == "per_pixel" else 0.4)
    label = figure.texts[2].get_text()
    assert float(label.removeprefix("sigma, to ")) == pytest.approx(many.max(), rel=0.1 if kind == "per_pixel" else 0.4)
    with pytest.raises(ValueError, match="drawn of images"):
        pictures.spread(make((4,)))


def test_the_encoder_is_not_traced_for_every_picture():
    vae, x, said = make((3,)), np.random.default_rng(0).random((5, 3), "float32"), []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    tf.get_logger().addHandler(handler)
    try:
        for _ in range(6):
            pictures.latent_scatter(vae, x)
    finally:
        tf.get_logger().removeHandler(handler)
    assert not [line for line in said if "retracing" in line]


@pytest.mark.parametrize("name", ["mean", "MMWWMW", "il", "$x$_1"])
def test_no_text_is_cut_off(name, tmp_path):
    grid = np.zeros((2, 3, 4, 4, 1))
    picture = drawn(tiles.draw_tiles(grid, [name, "a"], [name, "b", "c"], title=10 * name), tmp_path)
    edge = np.concatenate([picture[:2].ravel(), picture[-2:].ravel(), picture[:, :2].ravel(), picture[:, -2:].ravel()])
    assert edge.min() == 255


def test_one_deviation_for_all_pixels_is_said_and_is_no_row():
    figure = pictures.spread(make((6, 5, 1), likelihood=likelihoods.Normal((6, 5, 1), scale=0.25)), n=3)
    texts = [text.get_text() for text in figure.texts]
    assert {"mean", "draw"} < set(texts) and not any(text.startswith("sigma") for text in texts)
    assert any("sigma is 0.25 in every pixel" in text for text in texts)


def test_manifold_is_the_grid_of_the_quantiles(tmp_path):
    vae = make((6, 5, 1))
    z = of_models._prior_grid(vae, np.array([0.025, 0.5, 0.975], "float32"))
    np.testing.assert_allclose(z[0, 0], [-1.96, 1.96], atol=0.01)
    np.testing.assert_allclose(z[1, 1], 0.0, atol=1e-6)
    np.testing.assert_allclose(z[2, 2], [1.96, -1.96], atol=0.01)
    figure = pictures.manifold(vae, n=4, path=tmp_path / "m.png")
    assert [text.get_text() for text in figure.texts] == ["the plane of z, decoded where the prior has equal shares"]
    with pytest.raises(ValueError, match="latent_dim 2"):
        pictures.manifold(make((6, 5, 1), latent_dim=3))


def test_manifold_of_other_priors():
    levels = np.array([0.25, 0.75], "float32")
    uniform = make((4,), posterior=posteriors.Kumaraswamy(2), prior=priors.Uniform(2))
    np.testing.assert_allclose(of_models._prior_grid(uniform, levels)[0], [[0.25, 0.75], [0.75, 0.75]], atol=1e-6)
    mixture = make((4,), prior=priors.NormalMixture(2, 3))
    draws = np.asarray(mixture.prior.distribution().sample(20_000, seed=[1, 2]))
    np.testing.assert_allclose(
        of_models._prior_grid(mixture, levels)[1, 1, 0], np.quantile(draws[:, 0], 0.75), atol=0.08
    )
    # An untrained flow is the identity: its grid is that of its base.
    flow = make((4,), prior=priors.RealNVP(2, num_layers=2, units=(4,)))
    np.testing.assert_allclose(of_models._prior_grid(flow, levels)[1, 1], [0.674, -0.674], atol=0.01)


def test_clusters_show_each_component_with_its_draws_and_its_examples():
    vae = make((6, 5, 1), prior=priors.NormalMixture(2, 3))
    x = np.random.default_rng(0).random((40, 6, 5, 1)).astype("float32")
    z = vae.encode(x).mean().numpy()
    order = np.argsort(z[:, 0])
    # The first example alone is the smallest component's, the last ones are the largest one's.
    vae.prior.loc.assign(np.stack([z[order[0]], z[order[20]], z[order[-1]]]))
    vae.prior.raw_scale.assign(np.full((3, 2), -12.0))
    vae.prior.logits.assign([0.0, 1.0, 2.0])
    shown, rows, columns = of_clusters._grid(vae, x, 4, seed=0)
    assert rows == ["c = 2  66.5%", "c = 1  24.5%", "c = 0  9.0%"]
    assert columns == ["mean", *["draw"] * 4, "", *["data"] * 4]
    members = vae.prior.responsibilities(z).numpy().argmax(axis=-1)
    for row, component in enumerate((2, 1, 0)):
        np.testing.assert_allclose(shown[row, 0], vae.decode(vae.prior.loc[component][None]).mean()[0], atol=1e-5)
        np.testing.assert_allclose(shown[row, 1], shown[row, 0], atol=0.01)
        assert np.isnan(shown[row, 5]).all()
        # The example at the mean of the component comes first, and those of others never.
        np.testing.assert_array_equal(shown[row, 6], x[order[[0, 20, -1][component]]])
        there = [i for i in range(6, 10) if not np.isnan(shown[row, i]).any()]
        assert len(there) == min(4, (members == component).sum())
        for i in there:
            (example,) = np.flatnonzero((x == shown[row, i]).all(axis=(1, 2, 3)))
            assert members[example] == component


def test_clusters_of_a_prior_without_any_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"StandardNormal has no clusters: .* priors\.NormalMixture"):
        pictures.clusters(make((6, 5, 1)), np.zeros((4, 6, 5, 1)))
    mixture = make((6, 5, 1), latent_dim=3, prior=priors.NormalMixture(3, 3))
    written = pictures.all_pictures(mixture, np.ones((4, 6, 5, 1), "float32"), directory=tmp_path)
    assert tmp_path / "clusters.png" in written


def test_traversals_are_ordered_and_labelled(tmp_path):
    vae = make((6, 5, 1), latent_dim=3)
    projection = vae.encoder.posterior.projection
    kernel, bias = np.zeros(projection.kernel.shape), np.zeros(projection.bias.shape)
    bias[:3] = [0.1, 2.0, 1.0]
    projection.kernel.assign(kernel)
    projection.bias.assign(bias)
    x = np.random.default_rng(0).random((5, 6, 5, 1)).astype("float32")
    figure = pictures.traversals(vae, x, steps=5, span=2.0, path=tmp_path / "t.png")
    words = [text.get_text() for text in figure.texts]
    assert [word.split()[0] for word in words[:3]] == ["z1", "z2", "z0"]
    assert words[0].endswith("2.00")
    assert words[3:8] == ["-2.0", "-1.0", "0", "+1.0", "+2.0"]
    assert "standard deviations" in words[8]


def test_traversals_stay_inside_an_interval():
    vae = make((4,), posterior=posteriors.Kumaraswamy(2), prior=priors.Uniform(2))
    figure = pictures.traversals(vae, np.random.default_rng(0).random((5, 4)).astype("float32"), steps=3)
    assert [text.get_text() for text in figure.texts][2:5] == ["-1.7", "0", "+1.7"]


def test_traversals_have_names(tmp_path):
    vae = make((6, 5, 1), latent_dim=3)
    x = np.random.default_rng(0).random((5, 6, 5, 1)).astype("float32")
    figure = pictures.traversals(vae, x, steps=3, names={1: "smile"})
    labels = [text.get_text() for text in figure.texts[:3]]
    assert sum(label.startswith("smile (z1)") for label in labels) == 1
    with pytest.raises(ValueError, match=r"dimensions of this model are 0 \.\.\. 2"):
        pictures.traversals(vae, x, names={3: "smile"})


def test_traversals_lead_along_directions(tmp_path):
    vae = make((6, 5, 1), latent_dim=3)
    x = np.random.default_rng(0).random((5, 6, 5, 1)).astype("float32")
    turn, smile = np.array([1.0, -2.0, 0.5], "float32"), np.zeros(3, "float32")
    figure = pictures.traversals(
        vae, x, steps=3, span=2.0, directions={"turn": turn, "smile": smile}, path=tmp_path / "t.png"
    )
    words = [text.get_text() for text in figure.texts]
    assert words[:5] == ["turn", "smile", "-2.0", "0", "+2.0"]
    z, _, _ = of_models._along(vae, x[:1], None, {"turn": turn}, 2.0, 3)
    origin = np.asarray(vae.encode(x[:1]).mean())[0]
    np.testing.assert_allclose(z[0], [origin - 2 * turn, origin, origin + 2 * turn], rtol=1e-5)
    for wrong in ({"turn": [1.0, 2.0]}, {}):
        with pytest.raises(ValueError, match="direction"):
            pictures.traversals(vae, x, directions=wrong)
    bounded = make((4,), posterior=posteriors.Kumaraswamy(2), prior=priors.Uniform(2))
    z, _, _ = of_models._along(bounded, np.zeros((1, 4), "float32"), None, {"up": [9.0, -9.0]}, 1.0, 3)
    np.testing.assert_array_equal(z[0, 2], [1.0, 0.0])


def test_interpolations_run_from_data_to_data(tmp_path):
    vae = make((6, 5, 1))
    x = np.random.default_rng(0).random((4, 6, 5, 1)).astype("float32")
    figure = pictures.interpolations(vae, x, n=2, steps=3, path=tmp_path / "i.png")
    assert [text.get_text() for text in figure.texts][:5] == ["data", "0", "0.5", "1", "data"]
    picture = pixels(tmp_path / "i.png")
    found = cells(picture, 2, 5, 6, 5, **corner(figure))[..., 0]
    np.testing.assert_array_equal(found[:, 0], np.round(255 * x[:2, ..., 0]))
    np.testing.assert_array_equal(found[:, 4], np.round(255 * x[2:, ..., 0]))
    ends = vae.reconstruct(x)[..., 0]
    np.testing.assert_allclose(found[:, 1], np.clip(255 * ends[:2], 0, 255), atol=1)
    with pytest.raises(ValueError, match="two examples"):
        pictures.interpolations(vae, x[:1])


def test_scatter_says_what_it_shows():
    x = np.random.default_rng(0).random((30, 4)).astype("float32")
    plane = pictures.latent_scatter(make((4,)), (x, np.arange(30) % 3))
    assert plane.axes[0].get_title() == "where the data lie in z: posterior means"
    assert [text.get_text() for text in plane.legends[0].get_texts()] == ["0", "1", "2"]
    space = pictures.latent_scatter(make((4,), latent_dim=3), x, labels=np.linspace(0, 1, 30))
    assert "PCA of 3 dimensions" in space.axes[0].get_title()
    assert len(space.axes) == 2  # a scale of colours
    line = pictures.latent_scatter(make((4,), latent_dim=1), x)
    assert line.axes[0].get_xlabel() == "z0"


def test_bars_are_in_descending_order():
    x = np.random.default_rng(0).random((30, 4)).astype("float32")
    figure = pictures.kl_per_dimension(make((4,), latent_dim=3), x)
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == sorted(heights, reverse=True)
    assert "of 3 dimensions active" in figure.axes[0].get_title()
    with pytest.raises(ValueError, match="does not split"):
        pictures.kl_per_dimension(make((4,), prior=priors.NormalMixture(2, 2)), x)


def test_curves_from_a_csv_file(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,elbo,kl,val_elbo\n0,-300,1,-90\n1,-100,2,nan\n2,-90,3,\n")
    figure = pictures.training_curves(path)
    assert [axes.get_title() for axes in figure.axes] == ["elbo (nats)", "kl (nats)"]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [-300, -100, -90])
    assert len(figure.axes[0].lines) == 2
    history = keras.callbacks.History()
    history.history = {"elbo": [1.0, 2.0]}
    assert len(pictures.training_curves(history).axes) == 1
    with pytest.raises(ValueError, match="none of elbo"):
        pictures.training_curves({"loss": [1.0]})


def test_vectors_are_curves(tmp_path):
    vae = make((4,))
    x = np.random.default_rng(0).random((5, 4)).astype("float32")
    figure = pictures.reconstructions(vae, x, path=tmp_path / "v.png")
    assert "data (black) and their reconstructions (red)" in figure.texts[0].get_text()
    assert (pixels(tmp_path / "v.png")[..., 0] > pixels(tmp_path / "v.png")[..., 1] + 50).any()
    assert len(pictures.samples(vae, 3).axes) == 1


def test_what_cannot_be_drawn_is_refused(tmp_path):
    vae = make((4,))
    with pytest.raises(ValueError, match="images"):
        tiles.draw_tiles(np.zeros((1, 1, 2, 2, 2, 2)))
    with pytest.raises(ValueError, match="nothing to draw"):
        tiles.draw_tiles(np.zeros((0, 1, 2, 2, 1)))
    with pytest.raises(ValueError, match="n must be"):
        pictures.samples(vae, 0)
    with pytest.raises(ValueError, match="no data"):
        pictures.reconstructions(vae, np.zeros((0, 4), "float32"))
    with pytest.raises(ValueError, match=r"\.png"):
        pictures.samples(vae, 2, path=tmp_path / "x.jpg")


def test_a_failed_write_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "s.png"
    path.write_bytes(b"old")

    def fail(*args):
        raise OSError("disk full")

    figure = tiles.draw_tiles(np.zeros((1, 1, 2, 2, 1)))
    monkeypatch.setattr(tiles.Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        tiles.saved(figure, path)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["s.png"]


def test_all_pictures_that_apply(tmp_path):
    x = np.random.default_rng(0).random((40, 6, 5, 1)).astype("float32")
    written = pictures.all_pictures(make((6, 5, 1)), x, history={"elbo": [1.0, 2.0]}, directory=tmp_path)
    names = [path.stem for path in written]
    assert names == [
        "samples",
        "reconstructions",
        "interpolations",
        "latent_scatter",
        "manifold",
        "traversals",
        "kl_per_dimension",
        "training_curves",
    ]
    assert all(pixels(path).std() > 0 for path in written)
    learned = pictures.all_pictures(
        make((6, 5, 1), likelihood=likelihoods.Normal((6, 5, 1))), x, directory=tmp_path / "l"
    )
    assert "spread" in [path.stem for path in learned]
    autoencoder = make((4,), 3, posteriors.Deterministic(3), objective=objectives.Reconstruction())
    x = np.random.default_rng(0).random((120, 4)).astype("float32")
    names = [path.stem for path in pictures.all_pictures(autoencoder, x, directory=tmp_path / "ae")]
    assert names == ["samples", "reconstructions", "interpolations", "latent_scatter", "samples_of_code_density"]


def test_samples_of_a_density(tmp_path):
    vae = make((6, 5, 1), 2, posteriors.Deterministic(2), objective=objectives.Reconstruction())
    x = np.random.default_rng(0).random((60, 6, 5, 1)).astype("float32")
    density = evaluation.CodeDensity(vae, x, num_components=2)
    figure = pictures.samples(vae, 25, path=tmp_path / "d.png", density=density)
    assert [text.get_text() for text in figure.texts] == ["drawn from a density of the codes"]
    assert "nothing ties to the codes" in pictures.samples(vae, 4).texts[0].get_text()
    found = cells(pixels(tmp_path / "d.png"), 5, 5, 6, 5, **corner(figure)).reshape(25, 6, 5, 3)[..., 0]
    expected = np.asarray(vae.decode(density.sample(25)).mean())[..., 0]
    np.testing.assert_allclose(found, np.clip(255 * expected, 0, 255), atol=1)


def test_notebooks_show_the_picture_that_is_written(tmp_path):
    vae = make((4, 4, 1))
    grid = pictures.samples(vae, path=tmp_path / "grid.png")
    curves = pictures.training_curves({"elbo": [1.0, 2.0], "val_elbo": [1.0, 1.5]}, path=tmp_path / "curves.png")
    for figure, name in ((grid, "grid"), (curves, "curves")):
        assert figure._repr_png_() == (tmp_path / f"{name}.png").read_bytes()


def test_every_picture_says_what_one_sees_and_fits_on_its_sheet(tmp_path):
    """Of images, of vectors, of classes and of a hierarchy: the title is there, and no text is cut off."""
    rng = np.random.default_rng(0)
    images, vectors = (rng.random((40, *shape)).astype("float32") for shape in ((6, 5, 1), (4,)))
    vae, flat = make((6, 5, 1), likelihood=likelihoods.Normal((6, 5, 1))), make((4,))
    mixture = make((6, 5, 1), prior=priors.NormalMixture(2, 3))
    figures = [
        *(pictures.samples(vae, 4), pictures.spread(vae, 2), pictures.reconstructions(vae, images, 2)),
        *(pictures.interpolations(vae, images, 1), pictures.manifold(vae, 3), pictures.traversals(vae, images)),
        *(pictures.samples(flat, 4), pictures.reconstructions(flat, vectors), pictures.traversals(flat, vectors)),
        *(pictures.clusters(mixture, images), pictures.latent_scatter(vae, images), pictures.manifold(flat, 3)),
        *(pictures.kl_per_dimension(vae, images), pictures.training_curves({"elbo": [1.0, 2.0]})),
    ]
    for figure in figures:
        charts = [axes for axes in figure.axes if axes.axison]
        titles = [axes.get_title() for axes in charts] or [figure.texts[-1].get_text()]
        assert all(len(title.split()) > 1 for title in titles)
        figure.draw_without_rendering()
        texts = [*figure.texts, *(axes.title for axes in charts)]
        width, height = figure.bbox.width, figure.bbox.height
        for box in (text.get_window_extent() for text in texts):
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
