"""The local page in a real browser: Debian's Chromium, driven by Playwright."""

import io
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conftest import heed_interruptions
from PIL import Image

from retina import maps
from retina.phantoms import draw_phantom

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM or os.environ.get("CI")),
        reason="no Chromium: apt-get install chromium",
    ),
]
WAIT = 120_000  # milliseconds: others may use the machine
OVERFLOW = "document.documentElement.scrollWidth > innerWidth"


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def served(output):
    """The address of serve.py, which runs as users start it; and what it said."""
    port, said = free_port(), []
    words = ["--no-browser", "--port", str(port), "--output", str(output)]
    process = subprocess.Popen(
        [sys.executable, ROOT / "serve.py", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        preexec_fn=heed_interruptions,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stdout:
            if line.startswith("http"):
                break
        yield f"http://127.0.0.1:{port}", said
    finally:
        process.send_signal(signal.SIGINT)
        said.append(process.communicate(timeout=100)[1])
        process.kill()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"]  # as root, in a container
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def address(folder):
    with served(folder) as (address, _):
        yield address


@contextmanager
def window(browser, address, refused=0, **options):
    """A page of the browser, which must write nothing to its console, but for a line
    on each request that is refused."""
    context = browser.new_context(accept_downloads=True, **options)
    page, said = context.new_page(), []
    page.set_default_timeout(WAIT)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(address)
    yield page
    assert sum("status of 400" in text for text in said) == refused == len(said), said
    context.close()


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """A drawn photograph of 300 x 280 pixels, as a JPEG."""
    pixels = draw_phantom(height=300, width=280, rng=np.random.default_rng(3)).image
    path = tmp_path_factory.mktemp("photographs") / "eye.jpg"
    Image.fromarray(np.uint8(pixels * 255)).save(path, quality=95)
    return path


def add(page, *files):
    page.set_input_files("#files", [str(file) for file in files])


def open_photograph(page, photograph):
    """Has the photograph there and open, its measures too."""
    page.wait_for_selector("#network:not(:empty)")
    if not page.locator("#list li").count():
        add(page, photograph)
    page.wait_for_selector("#measures .main td")


def on_photograph(page, row, column):
    """Where a pixel of the photograph is on the screen."""
    box = page.locator("#view").bounding_box()
    scale = min(box["width"] / 280, box["height"] / 300)
    left = box["x"] + (box["width"] - 280 * scale) / 2
    top = box["y"] + (box["height"] - 300 * scale) / 2
    return left + scale * (column + 0.5), top + scale * (row + 0.5)


def shot(page):
    """What the screen shows, as an array (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"), int)


def greens(page):
    """Pixels on the screen in the colour of vessels."""
    red, green, blue = np.moveaxis(shot(page), -1, 0)
    return ((green > red + 40) & (green > blue + 40)).sum()


@pytest.mark.parametrize("width, height", [(1280, 800), (1920, 1080)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_photograph_is_shown_with_its_vessels(
    browser, address, photograph, width, height, scheme
):
    size = {"width": width, "height": height}
    with window(browser, address, viewport=size, color_scheme=scheme) as page:
        open_photograph(page, photograph)
        page.wait_for_timeout(300)
        vessels = greens(page)
        assert vessels > 5000
        page.keyboard.press("4")
        page.wait_for_timeout(300)
        assert greens(page) < vessels / 20
        page.keyboard.press("4")
        few, many = page.locator("#threshold"), []
        for value in ("0.9", "0.1"):
            few.fill(value)
            page.wait_for_timeout(300)
            many.append(greens(page))
        assert many[0] < vessels < many[1]
        page.get_by_role("button", name="Reset").click()
        page.wait_for_timeout(300)
        assert greens(page) == vessels
        assert not page.evaluate(OVERFLOW)


def test_in_a_narrow_window_its_parts_stand_one_below_the_other(
    browser, address, photograph
):
    size = {"width": 400, "height": 800}
    with window(browser, address, viewport=size) as page:
        open_photograph(page, photograph)
        parts = ("header", "nav", "main", "aside")
        boxes = [page.locator(part).bounding_box() for part in parts]
        assert [(box["x"], box["width"]) for box in boxes] == [(0, 400)] * 4
        for above, below in itertools.pairwise(boxes):
            assert above["y"] + above["height"] == pytest.approx(below["y"], abs=1)
        assert not page.evaluate(OVERFLOW)


def test_vessels_are_cut_and_figures_written_as_they_are_to_be(browser, address):
    values = np.arange(65536, dtype=np.uint16)
    rng = np.random.default_rng(0)
    thresholds = [*rng.random(200), *rng.integers(0, 65536, 200) / 65535]
    thresholds = [0.0, 0.401, 0.5, 1.0, *map(float, thresholds)]
    probability = maps.from_16_bits(Image.fromarray(values[None]))[0]
    expected = [int((probability >= threshold).argmax()) for threshold in thresholds]
    with window(browser, address) as page:
        script = (
            "async (all) => { const { leastValue } = await import('/drawing.js');"
            "return all.map(leastValue); }"
        )
        assert page.evaluate(script, thresholds) == expected
        script = (
            "async (all) => { const { rounded } = await import('/server.js');"
            "return all.map(rounded); }"
        )
        cells = ["0.00007427124", "9163.4812", "0.12551", "0", "-0.00012", ""]
        shown = ["7.427e-5", "9163", "0.1255", "0", "-1.2e-4", "–"]
        assert page.evaluate(script, cells) == shown


# Has the page learn that its correction arrived only when that was measured.
SLOW_ANSWER = """() => {
  const { fetch } = window;
  window.fetch = async (path, options) => {
    const answer = await fetch(path, options);
    const busy = async () => (await (await fetch("/photographs")).json())[0].step;
    while (options?.method === "PUT" && await busy());
    return answer;
  };
}"""


def test_a_vessel_that_is_drawn_is_measured_and_there_after_a_restart(
    browser, photograph, tmp_path
):
    with (
        served(tmp_path) as (address, said),
        window(browser, address, refused=1) as page,
    ):
        add(page, ROOT / "README.md", photograph)
        page.wait_for_selector("#measures .main td")
        refused = page.locator("#messages").inner_text()
        assert "expected a picture in README.md, but it cannot be read" in refused
        assert page.locator("#measures thead th").all_inner_texts()[1:] == ["value"]
        page.keyboard.press("b")
        page.mouse.move(*on_photograph(page, 150, 60))
        page.mouse.down()
        page.mouse.move(*on_photograph(page, 150, 200), steps=7)
        page.mouse.up()
        page.get_by_role("button", name="Measure again").click()
        page.wait_for_selector("#measures .main td:nth-child(3)")
        drawn = np.asarray(Image.open(tmp_path / "vessels/eye.png"))
        assert drawn[149:152, 62:199].all()
        with page.expect_download() as download:
            page.get_by_role("link", name="All (zip)").click()
        with zipfile.ZipFile(download.value.path()) as archive:
            assert {"eye.png", "vessels/eye.png"} < set(archive.namelist())
            assert b"edited picture" in archive.read("measurements.csv")
        after = page.locator("#measures .main td:nth-child(3)").all_inner_texts()
    assert said[0].strip().splitlines()[-1].startswith("serve.py: stopped; what was")
    assert "Traceback" not in said[0]
    with served(tmp_path) as (address, _), window(browser, address) as page:
        page.wait_for_selector("#measures .main td:nth-child(3)")
        assert (
            page.locator("#measures .main td:nth-child(3)").all_inner_texts() == after
        )
        page.keyboard.press("e")
        page.mouse.move(*on_photograph(page, 150, 60))
        page.mouse.down()
        page.mouse.move(*on_photograph(page, 150, 200), steps=7)
        page.mouse.up()
        page.keyboard.press("Control+z")
        page.keyboard.press("m")
        page.wait_for_selector("#again:not([disabled])")
        assert (
            page.locator("#measures .main td:nth-child(3)").all_inner_texts() == after
        )
        again = np.asarray(Image.open(tmp_path / "vessels/eye.png"))
        np.testing.assert_array_equal(again, drawn)
        page.evaluate(SLOW_ANSWER)
        page.fill("#scale", "9")
        page.get_by_role("button", name="Measure again").click()
        page.wait_for_selector("#measures .main small:has-text('µm')")


def test_a_vessel_that_is_pointed_at_tells_its_measures(browser, address, photograph):
    with window(browser, address) as page:
        open_photograph(page, photograph)
        readout = page.locator("#readout")
        page.keyboard.press(".")
        told = readout.inner_text()
        pattern = r"Segment 1: length [\d.]+ px, mean width [\d.]+ px, arc over chord"
        assert re.match(pattern, told)
        page.keyboard.press(".")
        assert readout.inner_text().startswith("Segment 2: ")
        for row in range(60, 240, 4):
            page.mouse.move(*on_photograph(page, row, 140))
            if "width here" in readout.inner_text():
                break
        assert re.match(r"Segment \d+: width here [\d.]+ px, ", readout.inner_text())


def test_the_report_can_be_printed(browser, address, photograph):
    with window(browser, address) as page:
        open_photograph(page, photograph)
        link = page.get_by_role("link", name="Report to print")
        report = address + link.get_attribute("href")
    with window(browser, report) as page:
        page.wait_for_selector("#origin dd")
        text = page.locator("body").inner_text()
        for part in ("eye", "For research, not for diagnosis", "vessel density"):
            assert part in text
        assert re.search(r"vessels.keras, SHA-256 [0-9a-f]{64}", text)
        page.wait_for_load_state("networkidle")
        widths = "[...document.images].map((image) => image.naturalWidth)"
        assert page.evaluate(widths) == [280, 280]


def test_of_an_upload_that_is_cut_off_nothing_is_left(address, folder):
    host = address.removeprefix("http://")
    with socket.create_connection(host.split(":")) as browser:
        head = f"POST /photographs?name=x.png HTTP/1.1\r\nHost: {host}\r\n"
        head += f"Origin: {address}\r\nContent-Length: 1000\r\n\r\nhalf"
        browser.sendall(head.encode())
        wait_for(lambda: list(folder.glob(".page-*/upload")))
    wait_for(lambda: not list(folder.glob(".page-*/upload")))


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise TimeoutError


def drop(page, *paths):
    """Drops files and folders on the middle of the page."""
    data = {"items": [], "files": [str(path) for path in paths]}
    data["dragOperationsMask"] = 1  # copied
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        words = {"type": kind, "x": 600, "y": 400, "data": data}
        session.send("Input.dispatchDragEvent", words)


def test_a_folder_is_taken_but_for_what_is_no_picture(browser, address, tmp_path):
    for name in ("one.png", "within/two.png"):
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 255, (80, 90, 3))
        Image.fromarray(np.uint8(pixels)).save(path)
    for name in ("notes.txt", ".hidden.png"):
        (tmp_path / "mine" / name).write_text("no picture")
    whole = (tmp_path / "mine/one.png").read_bytes()
    (tmp_path / "mine/cut.png").write_bytes(whole[: len(whole) // 2])
    with window(browser, address) as page:
        page.wait_for_load_state("networkidle")  # nothing changes under the pointer
        drop(page, tmp_path / "mine")
        for name in ("one", "two"):
            page.wait_for_selector(f"#list li:has-text('{name}') img")
        assert page.locator("#messages p").count() == 1
        assert "1 file skipped" in page.locator("#messages").inner_text()
        page.get_by_role("button", name="Dismiss these messages").click()
        assert page.locator("#messages p").count() == 0
        page.wait_for_selector("#status:has-text(' ready, 1 failed.')")
        assert page.locator("#list li:has-text('cut') img").is_hidden()
        assert page.locator("#list li:has-text('one') img").is_visible()
        for name in ("one", "two"):
            page.click(f"#list button:has-text('{name}')")
            page.wait_for_selector("#note:has-text('no round field found')")
            page.get_by_role("button", name="Remove from this machine").click()
            page.wait_for_selector(f"#list li:has-text('{name}')", state="detached")
