"""A run on one page: what `keras-vae info` says of it, its report, and all of its pictures."""

import html
import json
from pathlib import Path

from keras_vae import files
from keras_vae_cli.looks import info

PAGE = "index.html"
# What each picture shows, in the order in which one looks at them.
CAPTIONS = {
    "samples": "Drawn: means of p(x|z), z from the prior.",
    "samples_of_code_density": "Drawn from a density fitted to the codes.",
    "clusters": "The clusters: a row for each component of the prior, its mean, draws from it, and data.",
    "reconstructions": "Test examples above what is left of them after encoding and decoding.",
    "answers": "What was given, the truth, and several answers to it.",
    "interpolations": "From one test example to another, in the space of z.",
    "manifold": "The plane of z, decoded.",
    "traversals": "One dimension of z changed at a time.",
    "fixed_levels": "The upper levels held, the lower ones drawn anew.",
    "spread": "Means of p(x|z), draws with noise, and the standard deviation of each pixel.",
    "latent_scatter": "Where the test examples lie in the space of z.",
    "kl_per_dimension": "KL of each dimension of z in nats: near zero, it is not used.",
    "training_curves": "Training and validation, epoch by epoch.",
}
HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 56em; padding: 0 1em; color: #222 }}
th {{ text-align: left; vertical-align: top; padding-right: 1.5em; white-space: nowrap; font-weight: 600 }}
td {{ overflow-wrap: anywhere }} figure {{ margin: 2em 0 }} img {{ max-width: 100% }} figcaption {{ color: #555 }}
pre {{ overflow: auto; background: #f6f6f6; padding: 1em; font-size: 13px }}
</style></head><body><h1>{title}</h1>
"""


def write_page(run: Path) -> None:
    """Write RUN/index.html anew, which shows the pictures that are there by their places, and needs nothing else.

    Raises:
        ConfigError: if the folder is damaged.
        OSError: if it cannot be written.
    """
    title = html.escape(run.absolute().name)
    rows = [f"<tr><th>{html.escape(label)}</th><td>{html.escape(text)}</td></tr>" for label, text in info.lines(run)]
    found = {path.stem: path for path in sorted((run / "pictures").glob("*.png"))}
    order = [*(name for name in CAPTIONS if name in found), *(name for name in found if name not in CAPTIONS)]
    figures = [
        f'<figure><img src="pictures/{html.escape(found[name].name)}" alt="{html.escape(name)}">'
        f"<figcaption>{html.escape(CAPTIONS.get(name, name.replace('_', ' ')))}</figcaption></figure>"
        for name in order
    ]
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    numbers = f"<details><summary>report.json</summary><pre>{html.escape(json.dumps(report, indent=2))}</pre></details>"
    body = "\n".join([HEAD.format(title=title), "<table>", *rows, "</table>", *figures, numbers, "</body></html>", ""])
    files.write_text(run / PAGE, body)
