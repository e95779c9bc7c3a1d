"""RUN/index.html, of a folder whose names are no HTML."""

import json

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
