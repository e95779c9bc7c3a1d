"""Importance sampling beside bare matrix products, its memory, that of samples, and the time to decode one z."""

from race import Contestant, call, race, ratio, spread
from report import Table, Target

# The decoder of Burda et al. 2016.
SHAPES = ((50, 200), (200, 200), (200, 784))
SAMPLES = 5000
# What one chunk of draws of the evaluation has.
ROWS = 1312
# Pictures of 28 x 28 that are drawn.
PICTURES = 50_000


def run(peers: str | None, quick: bool) -> tuple[list[Table], list[Target]]:
    """All of it."""
    tables, targets = [], []
    for part in (_importance, _memory, _sampling, _decode):
        table, found = part(quick)
        tables.append(table)
        targets += found
    return tables, targets


def _importance(quick: bool) -> tuple[Table, list[Target]]:
    images = 82 if quick else 410
    operations = 2 * sum(a * b for a, b in SHAPES)
    text = ",".join(f"{a}x{b}" for a, b in SHAPES)
    times = race(
        {
            "evaluation.log_likelihood": Contestant("importance.py", [str(SAMPLES)], images),
            "matrix products": Contestant("products.py", [text, str(ROWS), "forward"], images * SAMPLES // ROWS),
        },
        rounds=2 if quick else 5,
    )
    ours, products = times["evaluation.log_likelihood"], times["matrix products"]
    # From images and from products to samples.
    per_sample = {
        "evaluation.log_likelihood": (ours.typical / SAMPLES, ours.typical_cpu / SAMPLES),
        "matrix products": (products.typical / ROWS, products.typical_cpu / ROWS),
    }
    pairs = zip(ours.seconds, products.seconds, strict=True)
    found = spread([b / ROWS / (a / SAMPLES) for a, b in pairs])
    rows = [
        [name, f"{1e6 * seconds:.2f}", f"{operations / seconds / 1e9:.0f}", f"{1e6 * cpu:.2f}"]
        for name, (seconds, cpu) in per_sample.items()
    ]
    table = Table(
        "Importance-weighted log p(x), decoder 784-200-200-50",
        ["contestant", "us/sample", "GFLOP/s of matrix work", "processor us/sample"],
        rows,
        f"{images} images, {SAMPLES} samples each; {operations / 1e6:.2f} MFLOP of the decoder's products a sample. "
        "Beside them an evaluation draws 50 normal numbers, takes 400 tanh and the likelihood of 784 values.",
    )
    return table, [
        Target("importance sampling: matrix work / bare products", found.median, str(found), ">= 0.85", at_least=0.85)
    ]


def _memory(quick: bool) -> tuple[Table, list[Target]]:
    counts = (100, 1000) if quick else (100, 1000, 10_000)
    peaks = [call("importance.py", "memory", str(count))["peak"] / 2**20 for count in counts]
    rows = [[count, f"{peak:.0f}"] for count, peak in zip(counts, peaks, strict=True)]
    growth = peaks[-1] / peaks[0]
    return Table("Memory of importance sampling", ["samples", "peak MiB"], rows, "41 images, fresh processes."), [
        Target(
            f"memory at {counts[-1]:,} importance samples / at {counts[0]}",
            growth,
            f"{growth:.2f}",
            "flat: <= 1.1",
            at_most=1.1,
        )
    ]


def _sampling(quick: bool) -> tuple[Table, list[Target]]:
    count = PICTURES // 10 if quick else PICTURES
    idle, peak = (call("sampling.py", "memory", str(n))["peak"] / 2**30 for n in (1, count))
    size = 4 * 28 * 28 * count / 2**30
    times = race(
        {
            "vae.sample": Contestant("sampling.py", ["sample"], count),
            "vae.generate, all at once": Contestant("sampling.py", ["eager"], count),
        },
        rounds=2 if quick else 3,
    )
    found = ratio(times["vae.sample"], times["vae.generate, all at once"])
    rows = [[name, f"{1 / taken.typical:,.0f}", f"{1e6 * taken.typical:.1f}"] for name, taken in times.items()]
    table = Table(
        "Samples",
        ["way", "pictures/s", "us each"],
        rows,
        f"{count:,} pictures of 28 x 28, decoder of the keras.io example: {size:.2f} GiB. A process that draws one "
        f"has a peak of {idle:.2f} GiB, one that draws them all by `vae.sample` of {peak:.2f}.",
    )
    over = peak - idle - size
    return table, [
        Target(f"memory of sample({count:,}) over its result", over, f"{over:.2f} GiB", "<= 0.5 GiB", at_most=0.5),
        Target("`sample` / all at once, eagerly", found.median, str(found), ">= 5", at_least=5.0),
    ]


def _decode(quick: bool) -> tuple[Table, list[Target]]:
    found = call("decode.py", "20" if quick else "100")
    tflite = found["tflite"]["median"]
    rows = [
        [name, f"{times['median']:.4f}", f"{times['least']:.4f}", f"{times['median'] / tflite:.0f}"]
        for name, times in found.items()
    ]
    times = found["predict"]["median"] / tflite
    table = Table(
        "Decoding one z, decoder 784-200-200-50",
        ["way", "median ms", "least ms", "times as long as TFLite"],
        rows,
        "TFLite runs with one thread; the ways take turns.",
    )
    return table, [
        Target("decode one z: TFLite", tflite, f"{tflite:.4f} ms", "<= 0.1 ms", at_most=0.1),
        Target("decode one z: `predict` / TFLite", times, f"{times:.0f}", ">= 100", at_least=100.0),
    ]
