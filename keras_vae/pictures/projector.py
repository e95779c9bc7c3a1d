"""The codes of examples with thumbnails and labels, for TensorBoard's projector."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from keras_vae import files
from keras_vae.arguments import check_count
from keras_vae.data.class_names import names_of
from keras_vae.evaluation.statistics import gather, given, points
from keras_vae.models.vae import VAE
from keras_vae.pictures.tiles import PathLike, as_rgb, is_image

# Pixels: of a thumbnail at least and at most, and of a side of all of them, which browsers hold as one texture.
SMALLEST, LARGEST, SHEET = 32, 64, 4096
CONFIG, CODES, LABELS, THUMBNAILS = "projector_config.pbtxt", "codes.tsv", "labels.tsv", "thumbnails.png"


def write_projector(
    vae: VAE,
    data: Any,
    directory: PathLike,
    labels: Any = None,
    n: int = 1000,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Path:
    """Write the codes of examples for the PROJECTOR page of `tensorboard --logdir directory`: points of q(z|x).

    Images are the thumbnails of the points. Points are named, and can be coloured, by their labels, and by numbers and
    names of files where the data know them.

    Args:
        vae: the model.
        data: a data set, with or without labels; its first `n` examples.
        directory: folder of logs; it must hold a file of events to be seen from a folder above.
        labels: [N], in place of the data's own.
        n: number of examples at most.
        value_range: values drawn as black and white.

    Returns:
        The projector's config, beside which the other files lie. Files of the same names are replaced.
    """
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    folder = Path(directory)
    x, own = gather(data, check_count("n", n))
    z, _ = points(vae, (x, given(vae, own, data)))
    z = z.reshape(len(z), -1)
    config = ProjectorConfig()
    described = config.embeddings.add(tensor_name="codes", tensor_path=CODES, metadata_path=LABELS)
    described.tensor_shape.extend(z.shape)
    if is_image(x.shape[1:]):
        sheet, size = _thumbnails(x, value_range)
        described.sprite.image_path = THUMBNAILS
        described.sprite.single_image_dim.extend(size)
        files.write_bytes(folder / THUMBNAILS, sheet)
    labels = own if labels is None else np.asarray(labels)[: len(x)]
    files.write_text(folder / CODES, "".join("\t".join(f"{v:.6g}" for v in row) + "\n" for row in z))
    names = names_of(data) or (vae.condition and vae.condition.names)
    files.write_text(folder / LABELS, _table(labels, names, getattr(data, "file_names", None), len(x)))
    files.write_text(folder / CONFIG, text_format.MessageToString(config))
    return folder / CONFIG


def _thumbnails(x: np.ndarray, value_range: tuple[float, float]) -> tuple[bytes, tuple[int, int]]:
    """A square of pictures from the left and the top, as PNG, and width and height of each."""
    rgb = as_rgb(x[:, None], value_range)[:, 0]
    side = math.ceil(math.sqrt(len(x)))
    longest = max(rgb.shape[1:3])
    want = min(max(longest, SMALLEST), LARGEST, max(1, SHEET // side))
    height, width = (max(1, round(size * want / longest)) for size in rgb.shape[1:3])
    sheet = PIL.Image.new("RGB", (side * width, side * height))
    for index, image in enumerate(rgb):
        small = PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BICUBIC)
        sheet.paste(small, (index % side * width, index // side * height))
    written = io.BytesIO()
    sheet.save(written, format="png", optimize=True)
    return written.getvalue(), (width, height)


def _table(labels: np.ndarray | None, names: Any, file_names: Any, number: int) -> str:
    """A row of words for each example, under a header if there is more than one column."""
    columns: dict[str, Any] = {}
    if labels is not None and labels.ndim == 1:
        known = names and labels.dtype.kind in "iu" and labels.min() >= 0 and labels.max() < len(names)
        columns["label"] = [names[label] for label in labels] if known else labels.tolist()
    if file_names is not None:
        columns["file"] = file_names[:number]
    columns["example"] = range(number)
    rows: list[Any] = [list(columns)] if len(columns) > 1 else []
    rows += zip(*columns.values(), strict=True)
    return "".join("\t".join(" ".join(_said(value).split()) or "-" for value in row) + "\n" for row in rows)


def _said(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
