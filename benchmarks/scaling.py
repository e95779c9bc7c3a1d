"""Throughput against sizes: a plot, and a table with the slope of time over size."""

import math

from matplotlib.figure import Figure
from race import call
from report import RESULTS, Table, Target

# What a unit of throughput is, how many a step holds, and why time grows as it does.
CURVES = {
    "batch size, MLP": (
        "images/s",
        lambda size: size,
        "Below the bend a step costs what does not depend on the batch: the calls of its operations, and Adam, which "
        "touches each weight once a step. Above it, matrix products: time in proportion to the batch (slope 1).",
    ),
    "batch size, convolutions": (
        "images/s",
        lambda size: size,
        "Few weights and much work for each image: in proportion almost from the start.",
    ),
    "latent dimensions, MLP": (
        "images/s, batch 128",
        lambda size: 128,
        "Only the two layers that touch z grow with it: 1,500 weights for each latent dimension beside 1.3 million.",
    ),
    "height of the image, convolutions": (
        "images/s, batch 32",
        lambda size: 32,
        "Convolutions, likelihood and the dense layers at the ends grow with the number of pixels, the square of the "
        "height: slope 2, a little less while the maps are small.",
    ),
    "importance samples, MLP": (
        "samples/s, 8 images",
        lambda size: 8 * size,
        "The encoder runs once, the decoder once a sample: a fixed part first, then in proportion (slope 1).",
    ),
}


def run(peers: str | None, quick: bool) -> tuple[list[Table], list[Target]]:
    """The curves."""
    found = call("scaling.py", "1" if quick else "7")
    tables = []
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots(2, 3).flat
    for axis, (name, points) in zip(axes, found.items(), strict=False):
        unit, amount, reason = CURVES[name]
        rows = []
        for index, (size, seconds) in enumerate(points):
            slope = ""
            if index:
                before, earlier = points[index - 1]
                slope = f"{math.log(seconds / earlier) / math.log(size / before):.2f}"
            rows.append([f"{size:,}", f"{1e3 * seconds:.2f}", f"{amount(size) / seconds:,.0f}", slope])
        tables.append(Table(f"Against {name}", [name.split(",")[0], "ms", unit, "slope of the time"], rows, reason))
        speeds = [amount(size) / seconds for size, seconds in points]
        axis.plot([size for size, _ in points], speeds, "o-")
        axis.set_xscale("log")
        axis.set_xticks([size for size, _ in points], [f"{size:,}" for size, _ in points], rotation=45)
        axis.minorticks_off()
        if max(speeds) > 10 * min(speeds):
            axis.set_yscale("log")
        else:
            axis.set_ylim(0, 1.1 * max(speeds))
        axis.set(xlabel=name, ylabel=unit)
        axis.grid(alpha=0.3)
    for axis in list(figure.axes)[len(found) :]:
        axis.remove()
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "scaling.png", dpi=70)
    return tables, []
