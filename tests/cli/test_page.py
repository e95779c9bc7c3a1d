"""RUN/index.html, of a folder whose names are no HTML."""

import html.parser
import json
import urllib.parse

from PIL import Image

from keras_vae_cli import settings
from keras_vae_cli.commands.page import write_page


def test_names_and_texts_are_no_markup_and_every_picture_is_there(tmp_path):
    run = tmp_path / "<b>run</b>"
    (run / "pictures").mkdir(parents=True)
    (run / "config.yaml").write_text(settings.load(None).as_yaml())
    (run / "report.json").write_text(json.dumps({"finished": True, "trained_by": {"command": "<script>x</script>"}}))
    for name in ("training_curves", "samples", "of_my_own"):
        Image.new("L", (3, 3)).save(run / "pictures" / f"{name}.png")
    write_page(run)
    page = (run / "index.html").read_text()
    assert "<b>run" not in page and "<script>" not in page and "&lt;b&gt;run&lt;/b&gt;" in page
    places = [page.index(f'src="pictures/{name}.png"') for name in ("samples", "training_curves", "of_my_own")]
    assert places == sorted(places)


class Read(html.parser.HTMLParser):
    """The attributes of every tag, and the tags that are open at the end."""

    def __init__(self, text):
        super().__init__()
        self.seen, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_links_lead_somewhere_and_pictures_are_described(digits_run):
    text = (digits_run / "index.html").read_text("utf-8")
    read = Read(text)
    assert read.open == []
    places = [attrs.get("href") or attrs.get("src") for tag, attrs in read.seen if tag in ("a", "img")]
    assert {"report.json", "history.csv", "config.yaml", "pictures/samples.png"} <= set(places)
    assert all((digits_run / urllib.parse.unquote(place)).is_file() for place in places)
    images = [attrs for tag, attrs in read.seen if tag == "img"]
    assert {f"pictures/{path.name}" for path in (digits_run / "pictures").iterdir()} == {i["src"] for i in images}
    for attrs in images:
        with Image.open(digits_run / attrs["src"]) as image:
            assert image.size == (int(attrs["width"]), int(attrs["height"]))
        assert len(attrs["alt"].split()) > 2
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text
    assert "http" not in text.split("<table>")[0]  # nothing is fetched
