"""What each posterior, prior and likelihood costs, relative to the plain VAE."""

from race import call, spread
from report import Table, Target


def run(peers: str | None, quick: bool) -> tuple[list[Table], list[Target]]:
    """One table for each kind of part."""
    found = call("part_costs.py", "1" if quick else "5")
    tables = []
    for kind, parts in found.items():
        rows = [[name, str(spread(cost["ratios"])), cost["ms"], f"{cost['weights']:,}"] for name, cost in parts.items()]
        note = "Training step of a VAE 784-256-256-32, batch 128; all other parts as in the first line of each table."
        if kind == "posterior":
            note += " Kumaraswamy stands with the Uniform prior."
        tables.append(Table(f"Cost of each {kind}", [kind, "step / plain step", "ms", "weights"], rows, note))
    return tables, []
