"""A page in the hands of somebody: clicks, keys, a drawing, a picture of one's own, a narrow screen."""

import json
import os
import shutil
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

import keras_vae as kv
from keras_vae import explorer, likelihoods, networks, posteriors, priors
from keras_vae.conditions import Label
from keras_vae.explorer.page import make_page

BROWSER = explorer.find_browser()
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to open pages in"),
    pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash to hand pipes to Chromium"),
]


class Tab:
    """A page in Chromium, moved by its DevTools over two pipes."""

    def __init__(self, page, folder):
        path = folder / "page.html"
        path.write_text(page, encoding="utf-8")
        to_browser, self._in = os.pipe()
        self._out, from_browser = os.pipe()
        options = ["--headless", "--disable-gpu", "--no-sandbox", f"--user-data-dir={folder / 'profile'}"]
        command = ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "_", BROWSER, *options]
        self._browser = subprocess.Popen(
            [*command, "--remote-debugging-pipe"], pass_fds=(to_browser, from_browser), stderr=subprocess.DEVNULL
        )
        os.close(to_browser), os.close(from_browser)
        self._number, self._rest, self.errors, self.requests, self._session = 0, b"", [], [], {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Runtime", "Log", "Page", "Network", "DOM"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=path.as_uri())
        self.until("document.readyState === 'complete' && document.getElementById('said').textContent !== ''")

    def call(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._in, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                read = os.read(self._out, 2**16)
                assert read, "the browser has ended"
                self._rest += read
            line, self._rest = self._rest.split(b"\0", 1)
            answer = json.loads(line)
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.errors.append(answer["params"])
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def value(self, expression):
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression, seconds=20):
        end = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < end, f"not within {seconds} s: {expression}"
            time.sleep(0.02)

    def said(self):
        return self.value("document.getElementById('said').textContent")

    def picture(self):
        # What has changed is drawn with the next frame.
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
        return self.value("document.getElementById('picture').toDataURL()")

    def click(self, query, to=None):
        """Press in the middle of what `query` finds, and move by `to` pixels before it is let go."""
        self.value(f"document.querySelector({query!r}).scrollIntoView({{block: 'center'}})")
        x, y = self.value(
            f"(() => {{const b = document.querySelector({query!r}).getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2];})()"
        )
        dx, dy = to or (0, 0)
        options = {"button": "left", "buttons": 1, "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, **options)
        for kind in ("mouseMoved", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x + dx, y=y + dy, **options)

    def key(self, key, **more):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, **more)

    def close(self):
        self._browser.kill()
        self._browser.wait()
        os.close(self._in), os.close(self._out)


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    label = Label(3, ("one", "<b>two</b>", "three"))
    vae = kv.VAE(
        kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(3), condition=label),
        kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((8, 6, 1)), condition=label),
        priors.StandardNormal(3),
    )
    vae.build()
    draws = np.random.default_rng(1)
    for weight in vae.trainable_weights:
        weight.assign_add(draws.normal(scale=0.3, size=weight.shape))
    x = draws.random((16, 8, 6, 1)).astype("float32").round()
    found = Tab(make_page(vae, (x, np.arange(16) % 3), title="<i>toy</i>"), tmp_path_factory.mktemp("page"))
    yield found
    found.close()


def test_samples_and_the_way_back(tab):
    first = tab.picture()
    tab.click("#sample")
    second = tab.picture()
    assert second != first and "prior" in tab.said()
    tab.key("s")
    assert tab.picture() not in (first, second)
    tab.click("#undo")
    assert tab.picture() == second
    tab.key("u")
    assert tab.picture() == first and tab.value("document.getElementById('undo').disabled")


def test_a_way_to_another_point_ends_there(tab):
    before = tab.picture()
    tab.click("#interpolate")
    tab.until("!document.getElementById('way').hidden")
    time.sleep(1.8)
    after = tab.picture()
    assert after != before
    time.sleep(0.2)
    assert tab.picture() == after


def test_keys_move_in_the_plane_and_sliders_follow(tab):
    tab.click("#reset")
    before = tab.picture(), tab.value("[...document.querySelectorAll('#sliders input')].map(i => i.value).join()")
    tab.value("document.getElementById('plane').focus()")
    tab.key("ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39)
    after = tab.picture(), tab.value("[...document.querySelectorAll('#sliders input')].map(i => i.value).join()")
    assert after[0] != before[0] and after[1] != before[1]


def test_another_class_is_another_picture(tab):
    assert tab.value("document.querySelectorAll('#condition input').length") == 3
    pressed = tab.value("[...document.querySelectorAll('#condition input')].findIndex(i => !i.checked)")
    before = tab.picture()
    tab.click(f"#condition label:nth-of-type({pressed + 1})")
    assert tab.picture() != before
    assert tab.value("document.querySelector('#condition b, h1 i')") is None


def test_a_drawing_and_a_file_have_posteriors(tab, tmp_path):
    if tab.value("document.getElementById('own').hidden"):
        pytest.fail("the encoder of so small a model is in the page")
    before = tab.picture()
    tab.click("#pad", to=(10, 15))
    drawn = tab.picture()
    assert drawn != before and "your drawing" in tab.said()
    Image.fromarray(np.eye(8, dtype="uint8") * 255).save(tmp_path / "own.png")
    root = tab.call("DOM.getDocument")["root"]["nodeId"]
    node = tab.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    tab.call("DOM.setFileInputFiles", nodeId=node, files=[str(tmp_path / "own.png")])
    tab.until("document.getElementById('said').textContent.includes('your picture')")
    assert tab.picture() != drawn


@pytest.mark.parametrize("width", [320, 360, 800])
def test_nothing_is_wider_than_the_screen(tab, width):
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
    assert tab.value("document.documentElement.scrollWidth") <= width
    tab.call("Emulation.clearDeviceMetricsOverride")


def test_it_asks_nothing_of_a_network_and_nothing_failed(tab):
    assert tab.errors == []
    assert [url for url in tab.requests if not url.startswith(("file:", "data:", "blob:"))] == []
