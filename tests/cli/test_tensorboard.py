"""What a run of the command line leaves for TensorBoard, read back by TensorBoard itself."""

import yaml
from google.protobuf import text_format
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig


def test_a_run_has_its_settings_curves_and_codes(digits_run):
    logs = digits_run / "tensorboard"
    read = EventAccumulator(str(logs)).Reload()
    plugin = read.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(plugin)
    assert start.hparams["train.epochs"].number_value == 1
    assert start.hparams["model.prior"].string_value == "StandardNormal"
    assert not [name for name in start.hparams if name.startswith("export")]
    plugin = read.SummaryMetadata(metadata.SESSION_END_INFO_TAG).plugin_data.content
    assert metadata.parse_session_end_info_plugin_data(plugin).status == 1  # STATUS_SUCCESS
    (text,) = read.Tensors("settings")
    kept = yaml.safe_load((digits_run / "config.yaml").read_text("utf-8"))
    assert yaml.safe_load(text.tensor_proto.string_val[0])["model"] == kept["model"]

    for name in ("train", "validation"):
        assert "epoch_elbo" in EventAccumulator(str(logs / name)).Reload().Tags()["tensors"]

    config = text_format.Parse((logs / "projector_config.pbtxt").read_text("utf-8"), ProjectorConfig())
    (codes,) = config.embeddings
    rows = (logs / codes.tensor_path).read_text("utf-8").splitlines()
    assert list(codes.tensor_shape) == [len(rows), 2] and {row.count("\t") for row in rows} == {1}
    labels = (logs / codes.metadata_path).read_text("utf-8").splitlines()
    assert labels[0] == "label\texample" and len(labels) == 1 + len(rows) > 100
    assert {row.split("\t")[0] for row in labels[1:]} == set("0123456789")
    with Image.open(logs / codes.sprite.image_path) as sheet:
        width, height = codes.sprite.single_image_dim
        assert (sheet.width // width) * (sheet.height // height) >= len(rows)
