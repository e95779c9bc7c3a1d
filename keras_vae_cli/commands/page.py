"""A run on one page: what `keras-vae info` says of it, its report, and all of its pictures."""

import html
import json
import urllib.parse
from pathlib import Path

import PIL.Image

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
    "imputations": "Examples with holes, what the model draws into them, and the mean of such draws.",
    "attributes": "Test examples moved along the direction in z that belongs to an attribute, such as a class.",
    "interpolations": "From one test example to another, in the space of z.",
    "manifold": "The plane of z, decoded.",
    "traversals": "One dimension of z changed at a time.",
    "fixed_levels": "The upper levels held, the lower ones drawn anew.",
    "spread": "Means of p(x|z), draws with noise, and the standard deviation of each pixel.",
    "latent_scatter": "Where the test examples lie in the space of z.",
    "kl_per_dimension": "KL of each dimension of z in nats: near zero, it is not used.",
    "training_curves": "Training and validation, epoch by epoch.",
}
# In each run folder, what can be opened from the page.
LINKED = ("report.json", "history.csv", "config.yaml", "data.json", "explore.html")
HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title><style>
:root {{ --text: #222; --quiet: #555; --back: #fff; --box: #f4f4f4; --line: #ddd; --link: #0645ad }}
@media (prefers-color-scheme: dark) {{
  :root {{ --text: #ddd; --quiet: #aaa; --back: #161616; --box: #242424; --line: #383838; --link: #8ab4f8 }}
}}
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 1.5em auto; max-width: 58em; padding: 0 1em;
  color: var(--text); background: var(--back) }}
a {{ color: var(--link) }} h1 {{ overflow-wrap: anywhere }}
table {{ border-collapse: collapse; width: 100% }} tr {{ border-top: 1px solid var(--line) }}
th {{ text-align: left; vertical-align: top; padding: .2em 1.5em .2em 0; white-space: nowrap; font-weight: 600 }}
td {{ padding: .2em 0; overflow-wrap: anywhere }} tr.on {{ border-top: 0 }}
figure {{ margin: 2em 0 }} figcaption {{ color: var(--quiet); margin-bottom: .4em }}
img {{ max-width: 100%; height: auto; background: #fff; border-radius: 4px }}
summary {{ cursor: pointer }}
pre {{ overflow: auto; background: var(--box); padding: 1em; font-size: 13px }}
@media (max-width: 40em) {{ th, td {{ display: block; padding: .1em 0 }} th:empty {{ display: none }} }}
</style></head><body><h1>{title}</h1>
"""


def write_page(run: Path) -> None:
    """Write RUN/index.html anew, which shows the pictures that are there by their places, and needs nothing else.

    Raises:
        ConfigError: if the folder is damaged.
        OSError: if it cannot be written.
    """
    title = html.escape(run.absolute().name)
    rows = [
        f"<tr{'' if label else ' class=on'}><th>{html.escape(label)}</th><td>{html.escape(text)}</td></tr>"
        for label, text in info.lines(run)
    ]
    links = [f'<a href="{name}">{name}</a>' for name in LINKED if (run / name).is_file()]
    found = {path.stem: path for path in sorted((run / "pictures").glob("*.png"))}
    order = [*(name for name in CAPTIONS if name in found), *(name for name in found if name not in CAPTIONS)]
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    numbers = f"<details><summary>report.json</summary><pre>{html.escape(json.dumps(report, indent=2))}</pre></details>"
    body = [f"<table>{''.join(rows)}</table>", f"<p>{' · '.join(links)}</p>", *(_figure(found[name]) for name in order)]
    files.write_text(run / PAGE, "\n".join([HEAD.format(title=title), *body, numbers, "</body></html>", ""]))


def _figure(path: Path) -> str:
    caption = CAPTIONS.get(path.stem, path.stem.replace("_", " "))
    try:
        with PIL.Image.open(path) as image:
            size = f' width="{image.width}" height="{image.height}"'
    except OSError:  # no picture; the browser says so
        size = ""
    # The caption says what a picture is of, also to those who do not see it.
    place, words = html.escape(urllib.parse.quote(path.name)), html.escape(caption)
    shown = f'<a href="pictures/{place}"><img src="pictures/{place}" alt="{words}"{size} loading="lazy"></a>'
    return f"<figure><figcaption>{words}</figcaption>{shown}</figure>"
