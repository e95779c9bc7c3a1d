"""Arrays of a page: all of them in one string, each with the place where it lies."""

import base64
from typing import Any

import numpy as np

PRECISIONS = ("float32", "float16", "int8")
# Of views into a buffer in a browser.
ALIGNMENT = 4


class PackedArrays:
    """Collects arrays.

    Args:
        precision: of weights. In int8, matrices and kernels have a scale for each output, and vectors stay float32.
    """

    def __init__(self, precision: str = "float32") -> None:
        self.precision = precision
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, array: Any) -> dict[str, Any]:
        """Where a weight lies, as JSON: {at, shape, type}, and of int8 a scale."""
        values = np.asarray(array, "float32")
        if self.precision == "int8" and values.ndim > 1:
            scale = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0) / 127.0
            scale = np.where(scale > 0, scale, 1.0).astype("float32")
            return {**self._put(np.rint(values / scale).astype("int8")), "scale": self.exact(scale)}
        if self.precision == "float16" and np.abs(values).max(initial=0.0) < np.finfo("float16").max:
            return self._put(values.astype("float16"))
        return self._put(values)

    def exact(self, array: Any) -> dict[str, Any]:
        """Where an array of float32 lies, whatever the precision."""
        return self._put(np.asarray(array, "float32"))

    def picture(self, array: Any) -> dict[str, Any]:
        """Where values in [0, 1] lie, rounded to 256 levels."""
        return self._put(np.rint(255 * np.clip(np.asarray(array), 0, 1)).astype("uint8"))

    def text(self) -> str:
        """All of them in base64."""
        return base64.b64encode(b"".join(self._parts)).decode()

    def _put(self, values: np.ndarray) -> dict[str, Any]:
        # In the byte order of the web, whatever that of this machine is.
        content = values.astype(values.dtype.newbyteorder("<")).tobytes()
        content += bytes(-len(content) % ALIGNMENT)
        place = {"at": self._size, "shape": list(values.shape), "type": values.dtype.name}
        self._parts.append(content)
        self._size += len(content)
        return place
