"""Settings and codes are read back by TensorBoard itself."""

import json
import time
import urllib.parse
import urllib.request

import keras
import numpy as np
import PIL.Image
import pytest
from google.protobuf import text_format
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

import keras_vae as kv
from keras_vae import callbacks, data, likelihoods, networks, pictures, posteriors, priors
from keras_vae.pictures.tensorboard import settings_of


def make(shape=(8, 8, 1), **options) -> kv.VAE:
    vae = kv.VAE(
        kv.Encoder(networks.mlp([16]), posteriors.MultivariateNormalDiag(3)),
        kv.Decoder(networks.mlp([16]), likelihoods.Normal(shape, scale=0.1)),
        priors.StandardNormal(3),
        seed=0,
        **options,
    )
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, 100)))
    return vae


def test_the_settings_of_a_model_are_hyper_parameters_and_text(digits, tmp_path):
    vae = make()
    vae.fit(digits[:64], verbose=0, callbacks=[callbacks.TensorBoardSettings(tmp_path)])
    read = EventAccumulator(str(tmp_path)).Reload()
    summaries = read.SummaryMetadata(metadata.SESSION_START_INFO_TAG)
    start = metadata.parse_session_start_info_plugin_data(summaries.plugin_data.content)
    found = {
        name: getattr(value, f"{kind}_value")
        for name, value in start.hparams.items()
        for kind in ("number", "string", "bool")
        if value.HasField(f"{kind}_value")
    }
    assert found["encoder.posterior"] == "MultivariateNormalDiag"
    assert found["encoder.posterior.latent_dim"] == 3
    assert found["encoder.network.units"] == "[16]"
    assert found["decoder.likelihood.scale"] == pytest.approx(0.1)
    assert found["optimizer"] == "Adam" and found["optimizer.learning_rate"] == "CosineDecay"
    assert found["optimizer.learning_rate.decay_steps"] == 100
    assert not [name for name in found if name.endswith(("dtype", "trainable", "module"))]
    end = read.SummaryMetadata(metadata.SESSION_END_INFO_TAG).plugin_data.content
    assert metadata.parse_session_end_info_plugin_data(end).status == 1  # STATUS_SUCCESS
    (text,) = read.Tensors("settings")
    lines = text.tensor_proto.string_val[0].decode()
    assert "\n        latent_dim: 3\n" in lines and all(line.startswith("    ") for line in lines.splitlines())
    assert settings_of(vae)["prior"] == {"name": "StandardNormal", "latent_dim": 3}


def test_codes_have_thumbnails_and_names(tmp_path):
    _, test = data.load("digits", labels=True)
    vae = make()
    written = pictures.write_projector(vae, test, tmp_path, n=30)
    config = text_format.Parse(written.read_text(), ProjectorConfig())
    (codes,) = config.embeddings
    (x, y) = next(iter(test))
    z = np.loadtxt(tmp_path / codes.tensor_path, delimiter="\t")
    assert list(codes.tensor_shape) == [30, 3] == list(z.shape)
    np.testing.assert_allclose(z, vae.encode(x[:30]).mean(), atol=1e-4)
    header, *rows = (tmp_path / codes.metadata_path).read_text().splitlines()
    assert header.split("\t") == ["label", "example"]
    assert [row.split("\t")[0] for row in rows] == [str(int(label)) for label in y[:30]]
    width, height = codes.sprite.single_image_dim
    with PIL.Image.open(tmp_path / codes.sprite.image_path) as image:
        sheet = np.asarray(image.convert("L"))
    assert sheet.shape == (6 * height, 6 * width) and (width, height) == (32, 32)
    # The eighth picture is the second of the second row.
    shown = sheet[height : 2 * height, width : 2 * width].reshape(8, 4, 8, 4).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(shown, x[7, ..., 0], atol=0.25)
    assert not sheet[5 * height :].any()  # nothing in the places of 31 to 36


def test_what_is_no_image_has_no_thumbnails_and_names_are_no_columns(tmp_path):
    vae = make((5,))
    x = np.random.default_rng(0).random((4, 5)).astype("float32")
    labels = np.array(["a\tb", "", "c\nd", "e"])
    written = pictures.write_projector(vae, x, tmp_path / "a", labels=labels)
    config = text_format.Parse(written.read_text(), ProjectorConfig())
    assert not config.embeddings[0].sprite.image_path
    assert (tmp_path / "a" / "labels.tsv").read_text() == "label\texample\na b\t0\n-\t1\nc d\t2\ne\t3\n"
    pictures.write_projector(vae, x, tmp_path / "b")
    # TensorBoard takes a single column for names without a header.
    assert (tmp_path / "b" / "labels.tsv").read_text() == "0\n1\n2\n3\n"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated")  # of what TensorBoard brings with it
def test_tensorboard_shows_them(digits, tmp_path):
    """Its own server, over loopback: the pages that it says are there, and what they get."""
    from tensorboard import program

    for name, seed in (("a", 1), ("b", 2)):
        vae, logs = make(gradient_skip_norm=10.0 * seed), tmp_path / name
        kept = [keras.callbacks.TensorBoard(logs, write_graph=False), callbacks.TensorBoardSettings(logs)]
        kept += [callbacks.TensorBoardProjector(logs, digits[:20])]
        vae.fit(digits[:64], validation_data=digits[:32], epochs=2, verbose=0, callbacks=kept)
    server = program.TensorBoard()
    server.configure(
        argv=[None, "--logdir", str(tmp_path), "--port", "0", "--load_fast", "false", "--reload_multifile", "true"]
    )
    url = server.launch()

    def get(path, post=None, **query):
        request = f"{url}data/plugin/{path}?{urllib.parse.urlencode(query)}"
        body = None if post is None else json.dumps(post).encode()
        with urllib.request.urlopen(urllib.request.Request(request, body, {"Content-Type": "application/json"})) as got:
            return got.read()

    for _ in range(60):
        runs = json.loads(get("text/tags"))
        if set(runs) == {"a", "b"}:
            break
        time.sleep(0.5)
    assert runs == {"a": ["settings"], "b": ["settings"]}
    experiment = json.loads(get("hparams/experiment", {"experimentName": ""}))
    print(json.dumps(experiment)[:3000])
    names = {info["name"] for info in experiment["hparamInfos"]}
    assert "gradient_skip_norm" in names
    metrics = {(info["name"]["tag"], info["name"]["group"]) for info in experiment["metricInfos"]}
    assert ("epoch_elbo", "validation") in metrics
    projected = json.loads(get("projector/runs"))
    assert {"a", "b"} <= set(projected)
    assert get("projector/sprite_image", run="a", name="codes").startswith(b"\x89PNG")
    assert get("projector/metadata", run="a", name="codes").count(b"\n") == 20
    assert len(get("projector/tensor", run="a", name="codes")) == 4 * 20 * 3
