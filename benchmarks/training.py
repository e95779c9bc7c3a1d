"""Training: `fit` beside a bare compiled step, the usual Keras script, JAX, PyTorch and pythae; and its arithmetic."""

import itertools

from race import Contestant, race, ratio
from report import Table, Target

# As in contestants/sizes.py.
STEPS = {"mlp": 150, "conv": 40}
BATCH_SIZE = 128
# Of one turn: enough that the start of a call of `fit`, an eighth of a second, is as small a share as in use.
EPOCHS = 4
SCAN = "JAX, an epoch in one scan"
# What does the same work, in every step: bytes gathered and binarized anew.
SAME_WORK = {SCAN: {"mlp": 1.0}, "JAX, a jitted step": {}}
LEAST = {
    "bare step": {"mlp": 0.95, "conv": 0.95},
    "usual Keras script, autotune off": {"mlp": 1.25, "conv": 1.1},
    "PyTorch eager": {"mlp": 1.1, "conv": 1.8},
    "pythae": {"mlp": 1.25, "conv": 1.8},
}
NAMES = {"mlp": "MLP 784-512-256-16", "conv": "convolutions of the keras.io example"}
# 784-500-500-50 and back, batch 256: products forward, and two back for each.
DENSE_UNITS, DENSE_LATENT, DENSE_BATCH = (500, 500), 50, 256
MLP_PRODUCTS = "784x512,512x256,256x32,16x256,256x512,512x784"
PRODUCTS = "its matrix products alone"


def run(peers: str | None, quick: bool) -> tuple[list[Table], list[Target]]:
    """Both architectures, then the dense one against bare matrix products."""
    tables, targets = [], []
    for architecture in ("mlp", "conv"):
        table, reached = _against_peers(architecture, peers, rounds=2 if quick else 3)
        tables.append(table)
        targets += reached
    table, reached = _arithmetic(rounds=2 if quick else 3)
    return [*tables, table], [*targets, *reached]


def _against_peers(architecture: str, peers: str | None, rounds: int) -> tuple[Table, list[Target]]:
    epochs = EPOCHS
    steps = epochs * STEPS[architecture]
    contestants = {
        "fit, NumPy arrays": Contestant("ours.py", [architecture, "numpy"], steps),
        "bare step": Contestant("bare.py", [architecture], steps),
        "fit, data.load": Contestant("ours.py", [architecture, "load"], steps),
        "fit, data.load, steps_per_execution=1": Contestant("ours.py", [architecture, "load", "1"], steps),
        "usual Keras script": Contestant("usual_keras.py", [architecture], steps),
        "usual Keras script, autotune off": Contestant("usual_keras.py", [architecture, "no-autotune"], steps),
    }
    if architecture == "mlp":
        contestants[PRODUCTS] = Contestant("products.py", [MLP_PRODUCTS, str(BATCH_SIZE), "training"], steps)
    if peers is not None:
        contestants["PyTorch eager"] = Contestant("torch_eager.py", [architecture], steps, peers)
        contestants["PyTorch, torch.compile"] = Contestant("torch_eager.py", [architecture, "compile"], steps, peers)
        # Half a second a step where there are convolutions.
        turn = steps if architecture == "mlp" else STEPS[architecture]
        contestants["JAX, a jitted step"] = Contestant("jax_steps.py", [architecture, "step"], turn, peers)
        contestants[SCAN] = Contestant("jax_steps.py", [architecture, "scan"], turn, peers)
        contestants["pythae"] = Contestant("pythae_trainer.py", [architecture], steps, peers)
    print(NAMES[architecture])
    times = race(contestants, rounds)
    ours, bare = times["fit, NumPy arrays"], times["bare step"]
    rows = []
    for name, taken in times.items():
        rows.append(
            [
                name,
                f"{BATCH_SIZE / taken.typical:,.0f}",
                f"{1e3 * taken.typical:.2f}",
                f"{1e3 * taken.typical_cpu:.2f}",
                str(ratio(ours, taken)),
                str(ratio(taken, bare)),
            ]
        )
    table = Table(
        f"Training, {NAMES[architecture]}, batch {BATCH_SIZE}",
        ["contestant", "images/s", "ms/step", "processor ms/step", "`fit` / this", "this / bare step"],
        rows,
        f"Turns of {steps} steps ({epochs} epochs of `fit`), {rounds} rounds. `data.load` and JAX binarize anew in "
        "every step; the others get images that are binary already.",
    )
    targets = []
    for name in ("fit, NumPy arrays", "fit, data.load"):
        found = ratio(times[name], bare)
        least = LEAST["bare step"][architecture]
        targets.append(
            Target(f"{name} / bare compiled step, {architecture}", found.median, str(found), f">= {least}", least)
        )
    if PRODUCTS in times:
        found = ratio(times["fit, data.load"], times[PRODUCTS])
        target = Target(
            f"matrix products' share of a step of fit, data.load, {architecture}",
            found.median,
            str(found),
            ">= 0.8",
            0.8,
        )
        targets.append(target)
    for name, leasts in SAME_WORK.items():
        if name in times:
            found, least = ratio(times["fit, data.load"], times[name]), leasts.get(architecture)
            text = "report" if least is None else f">= {least}"
            targets.append(Target(f"fit, data.load / {name}, {architecture}", found.median, str(found), text, least))
    for name in times:
        if name == "usual Keras script":
            found = ratio(ours, times[name])
            targets.append(Target(f"`fit` / {name}, {architecture}", found.median, str(found), "report"))
        elif name in LEAST and name != "bare step":
            found, least = ratio(ours, times[name]), LEAST[name][architecture]
            targets.append(Target(f"`fit` / {name}, {architecture}", found.median, str(found), f">= {least}", least))
    return table, targets


def _arithmetic(rounds: int) -> tuple[Table, list[Target]]:
    sizes = [784, *DENSE_UNITS, 2 * DENSE_LATENT]
    back = [DENSE_LATENT, *DENSE_UNITS[::-1], 784]
    shapes = [*itertools.pairwise(sizes), *itertools.pairwise(back)]
    operations = 3 * 2 * DENSE_BATCH * sum(a * b for a, b in shapes)
    text = ",".join(f"{a}x{b}" for a, b in shapes)
    units = ",".join(map(str, DENSE_UNITS))
    print("matrix work in training")
    times = race(
        {
            "fit": Contestant("dense.py", [units, str(DENSE_LATENT), str(DENSE_BATCH)], 200),
            "matrix products": Contestant("products.py", [text, str(DENSE_BATCH), "training"], 200),
        },
        rounds,
    )
    found = ratio(times["fit"], times["matrix products"])
    rows = [
        [
            name,
            f"{1e3 * taken.typical:.2f}",
            f"{operations / taken.typical / 1e9:.0f}",
            f"{1e3 * taken.typical_cpu:.2f}",
        ]
        for name, taken in times.items()
    ]
    table = Table(
        f"Matrix work in training 784-500-500-50, batch {DENSE_BATCH}",
        ["contestant", "ms/step", "GFLOP/s of matrix work", "processor ms/step"],
        rows,
        f"{operations / 1e9:.2f} GFLOP a step: each product once forward and twice back, in float32. In a step of "
        "`fit` they are joined by biases, activations, the likelihood, Adam and the data.",
    )
    target = Target("matrix work in training 784-500-500-50 / bare products", found.median, str(found), ">= 0.7", 0.7)
    return table, [target]
