"""Pages in a browser: nothing is loaded, nothing complains, all can be read, in every light."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, browser, chromium
from PIL import Image

from planet_ros.report.comparison import comparison_page
from planet_ros.report.report import report_page

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="Chromium is not installed (apt install chromium)"
)

OVERLAPS = """
Array.from(document.querySelectorAll("svg")).reduce(function(found, svg){
  var box = svg.getBoundingClientRect();
  var texts = Array.from(svg.querySelectorAll("text")).map(function(one){
    return [one.textContent, one.getBoundingClientRect()];});
  texts.forEach(function(one, i){
    var a = one[1];
    if (a.left < box.left - 2 || a.right > box.right + 2 || a.bottom > box.bottom + 2)
      found.push(svg.getAttribute("aria-label") + ": " + one[0] + " is cut");
    texts.slice(i + 1).forEach(function(other){
      var b = other[1];
      if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 &&
          b.top < a.bottom - 3)
        found.push(svg.getAttribute("aria-label") + ": " + one[0] + " / " + other[0]);});});
  return found;}, [])
"""
CHARTS = "document.querySelectorAll('svg[data-plot]').length"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def pages(
    tmp_path_factory: pytest.TempPathFactory, tiny_run: Path, picture_run: Path, offline_run: Path
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    broken = folder / "<img src=x onerror='window.hacked=1'>"
    shutil.copytree(tiny_run, broken)
    for file in sorted((broken / "episodes").iterdir())[:3]:
        file.write_bytes(b"PK")
    with (broken / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"kind": "evaluation", "environment_steps": 9, "mean_return": 1e29, ')
        metrics.write('"worst_return": -1e-9, "source": "<script>window.hacked=1</script>"}\n{')
    texts = {
        "vectors": report_page(tiny_run),
        "pictures": report_page(picture_run),
        "robot, offline": report_page(offline_run),
        "bundle": report_page(tiny_run / "model"),
        "damaged": report_page(broken),
        "comparison": comparison_page([tiny_run, picture_run, offline_run]),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


NAMES = ["vectors", "pictures", "robot, offline", "bundle", "damaged", "comparison"]


@pytest.mark.timeout(90)
@pytest.mark.parametrize("name", NAMES)
def test_page_loads_nothing_and_can_be_read(
    chrome: Browser, pages: dict[str, Path], name: str
) -> None:
    for width, scheme in ((1200, "light"), (1200, "dark"), (375, "light")):
        chrome.look(width=width, scheme=scheme)
        chrome.open(pages[name])
        assert chrome.complaints == []
        assert chrome.requests == []
        assert chrome.evaluate(CHARTS) > 0
        assert chrome.evaluate("document.documentElement.scrollWidth") <= width
        assert chrome.evaluate(OVERLAPS) == []
        paper = np.asarray(Image.open(io.BytesIO(chrome.screenshot())).convert("L"))
        assert (np.median(paper) > 200) == (scheme == "light")
        ink = chrome.evaluate("getComputedStyle(document.body).color")
        assert (int(ink[4:].split(",")[0]) < 100) == (scheme == "light")
    assert chrome.evaluate("window.hacked") is None


@pytest.mark.timeout(60)
def test_pointing_at_a_chart_tells_its_values(chrome: Browser, pages: dict[str, Path]) -> None:
    chrome.look()
    chrome.open(pages["vectors"])
    chrome.evaluate("document.querySelector('#ahead svg').scrollIntoView({block: 'center'})")
    place = chrome.evaluate(
        "(function(){var b=document.querySelector('#ahead svg').getBoundingClientRect();"
        "return [b.left + b.width / 2, b.top + b.height / 2];})()"
    )
    assert chrome.evaluate("document.getElementById('tip').hidden")
    chrome.point(*place)
    tip = chrome.evaluate("document.getElementById('tip').textContent")
    assert tip.startswith("steps ahead: ") and "\nerror: 0." in tip
    chrome.point(2, 2)
    assert chrome.evaluate("document.getElementById('tip').hidden")


@pytest.mark.timeout(60)
def test_on_paper_everything_is_open(chrome: Browser, pages: dict[str, Path]) -> None:
    chrome.look(scheme="dark")
    chrome.open(pages["vectors"])
    folded = "document.querySelectorAll('details:not([open])').length"
    assert chrome.evaluate(folded) > 3
    chrome.evaluate("window.addEventListener('beforeprint', function(){window.seen = " + folded
                    + ";})")  # fmt: skip
    pdf = chrome.printed()
    assert chrome.evaluate("window.seen") == 0
    assert pdf.startswith(b"%PDF") and len(pdf) > 30_000
    assert chrome.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
