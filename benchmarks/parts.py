"""What each posterior, prior and likelihood costs, relative to the plain VAE; some also as written in JAX."""

from race import call, spread
from report import Table, Target

# Of the plain step, at most.
MOST = {
    "RealNVP, 8 layers": 1.4,
    "VampPrior, 500 pseudo-inputs": 1.3,
    "MultivariateNormalTriL": 1.3,
    "DiscretizedLogisticMixture, 5 components": 4.0,
    "Categorical, 256 levels": 4.0,
}


def run(peers: str | None, quick: bool) -> tuple[list[Table], list[Target]]:
    """One table for each kind of part."""
    turns = "1" if quick else "5"
    found = call("part_costs.py", turns)
    in_jax = {} if peers is None else call("jax_parts.py", turns, python=peers)
    tables, targets = [], []
    for kind, parts in found.items():
        rows = []
        for name, cost in parts.items():
            times, theirs = spread(cost["ratios"]), in_jax.get(name)
            beside = ["", ""] if theirs is None else [str(spread(theirs["ratios"])), theirs["ms"]]
            rows.append([name, str(times), cost["ms"], *beside, f"{cost['weights']:,}"])
            if name in MOST:
                text = str(times) + (
                    "" if theirs is None else f"; in JAX {beside[0]}, speed / JAX's {theirs['ms'] / cost['ms']:.2f}"
                )
                targets.append(
                    Target(f"{name}: step / plain step", times.median, text, f"<= {MOST[name]}", at_most=MOST[name])
                )
        note = "Training step of a VAE 784-256-256-32, batch 128; all other parts as in the first line of each table."
        if kind == "posterior":
            note += " Kumaraswamy stands with the Uniform prior."
        columns = [kind, "step / plain step", "ms", "in JAX: step / plain step", "in JAX: ms", "weights"]
        tables.append(Table(f"Cost of each {kind}", columns, rows, note))
    return tables, targets
