"""The explorers of notebooks 01, 03, 05 and 07 where they are used: JupyterLab in a headless Chromium, by keyboard."""

import base64
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fsslib.datasets import open_dataset
from fsslib.explorers.pictures import WAYS, strip
from fsslib.superpixels import slic_patches
from fsslib.explorers.superpixels import panels, photo
from fsslib.explorers.episodes import render_episode

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no system Chromium")]
NOTEBOOKS = [Path(__file__).parents[2] / "notebooks" / f"{name}.ipynb"
             for name in ("01_episodic_sampling", "03_superpixel_patches", "05_region_maps", "07_symnet")]
PATIENCE = 120                               # seconds for any one step; a busy machine starts a kernel slowly
START = dict(dataset="shapes", fold=0, class_name="any", ways=1, shots=1, seed=0, episode=0)


def short_copy(notebook, folder):
    """A notebook with the cells that its widget needs: imports, parameters, opening the data, the widget itself.

    The others take a minute and are run by nbval; left in, they would only delay the one thing tested here.
    """
    content = json.loads(notebook.read_text(encoding="utf-8"))
    cells = [cell for cell in content["cells"] if cell["cell_type"] == "code"]

    def needed(cell):
        source = "".join(cell["source"])
        return (cell is cells[0] or {"parameters", "widget"} & set(cell["metadata"].get("tags", []))
                or re.search(r"^\w+ = open_dataset\(|^episode_browser\(|\.box\(\)$", source, re.M))
    content["cells"] = [cell for cell in cells if needed(cell)]
    for cell in content["cells"]:
        cell.update(outputs=[], execution_count=None)              # what the page shows was computed by this run
    (folder / notebook.name).write_text(json.dumps(content), encoding="utf-8")


def drawing_notebook(folder):
    """One cell: the widget of ``explorers.drawing`` on four pictures of Shapes, saving to ``folder``."""
    source = ["from fsslib.datasets import open_dataset", "from fsslib.explorers.drawing import Outliner",
              "images = open_dataset('shapes', split='val')",
              f"outliner = Outliner([(f'{{i}}.png', images.image(i)) for i in range(4)], ('one', 'two'), folder={str(folder)!r})",
              "outliner.box()"]
    return {"cells": [{"cell_type": "code", "metadata": {}, "source": "\n".join(source), "outputs": [], "execution_count": None, "id": "a"}],
            "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """URL of a JupyterLab that knows nothing of the user's settings and serves the short copies."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "work").mkdir()
    for notebook in NOTEBOOKS:
        short_copy(notebook, folder / "work")
    (folder / "work" / "drawing.ipynb").write_text(json.dumps(drawing_notebook(folder / "outlines")), encoding="utf-8")
    own = {name: str(folder / name.lower()) for name in (
        "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")}
    quiet = Path(own["JUPYTER_CONFIG_DIR"], "labconfig", "page_config.json")
    quiet.parent.mkdir(parents=True)
    quiet.write_text(json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}))
    log = folder / "server.log"
    with open(log, "w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.port=0",
             "--IdentityProvider.token=test", f"--ServerApp.root_dir={folder / 'work'}"],
            env=os.environ | own, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield address(server, Path(own["JUPYTER_RUNTIME_DIR"]), log)
    finally:
        server.terminate()                                          # on SIGTERM it stops its kernels, then itself
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


def address(server, runtime, log):
    """The URL a server writes into its runtime folder once it listens: no port is guessed beforehand."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            return json.loads((runtime / f"jpserver-{server.pid}.json").read_text())["url"]
        time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser, lab, notebook):
    """A notebook's page after Run > Run All Cells."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(f"{lab}lab/workspaces/{notebook.stem}/tree/{notebook.name}?token=test")
    run_all(page)
    return page


@pytest.fixture(scope="module")
def page(browser, lab):
    return opened(browser, lab, NOTEBOOKS[0])


def run_all(page):
    """Run > Run All Cells until the widget is there; Lab loses the command, or asks, while a kernel is starting."""
    cells, dialog = page.locator(".jp-Notebook .jp-CodeCell"), page.locator(".jp-Dialog button.jp-mod-accept")
    cells.first.wait_for()
    playwright.expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle")          # the kernel has answered
    until = time.monotonic() + PATIENCE
    while not page.locator("img.widget-image").is_visible():
        error = page.locator(".jp-OutputArea-output", has_text="Traceback (most recent call last)")
        if error.count() or time.monotonic() > until:
            pytest.fail("no widget; the page shows\n" + "\n".join(cells.all_inner_texts()))
        if dialog.count():                                          # "Select kernel" and the like
            dialog.last.click()
        elif cells.last.locator(".jp-InputPrompt").inner_text() == "[ ]:":                   # waits for nothing yet
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.wait_for_timeout(1000)


def picture(page, unlike=None):
    """PNG bytes of the widget's picture, as the page holds it, once they differ from ``unlike``."""
    image = page.locator("img.widget-image")
    image.wait_for()
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = image.evaluate("""async image => {
            const blob = await fetch(image.src).then(r => r.blob()).catch(() => null);   // null: just replaced
            return blob && new Promise(done => {
                const reader = new FileReader();
                reader.onload = () => done(reader.result.split(',')[1]);
                reader.readAsDataURL(blob);
            });
        }""")
        if found and base64.b64decode(found) != unlike:
            return base64.b64decode(found)
        time.sleep(0.02)
    pytest.fail("the picture did not change")


def size(png):
    image = Image.open(io.BytesIO(png))
    image.load()                             # a broken file raises here
    return image.size


def row(page, name):
    """The control with the label ``name``."""
    return page.locator(".widget-inline-hbox").filter(has=page.get_by_text(name, exact=True))


def press(page, name, key):
    """Presses ``key`` on a slider; milliseconds until the page has loaded the picture that follows."""
    handle = row(page, name).locator(".noUi-handle")
    handle.focus()
    page.locator("img.widget-image").evaluate("""image => {
        window.loaded = new Promise(done => document.addEventListener('keydown', () => {
            const pressed = performance.now();
            image.addEventListener('load', () => done(performance.now() - pressed), {once: true});
        }, {once: true, capture: true}));
    }""")
    page.keyboard.press(key)
    return page.evaluate("Promise.race([window.loaded, new Promise((_, no) => setTimeout(no, %d))])" % (
        1000 * PATIENCE))


def test_a_moved_slider_redraws_the_episode(page, capsys):
    before = picture(page)
    assert before == render_episode(**START)
    times = [press(page, "episode", "ArrowRight")]
    after = picture(page, unlike=before)
    assert row(page, "episode").locator(".widget-readout").inner_text() == "1"
    assert after == render_episode(**START | {"episode": 1})
    for png in (before, after):
        width, height = size(png)
        assert 300 < width < 2000 and 150 < height < 400           # three panels in one row, 168 px high
    times += [press(page, "episode", "ArrowRight") for _ in range(5)]
    with capsys.disabled():
        print(f"\nkey press to new picture, ms: {', '.join(f'{t:.0f}' for t in times)}")


def test_more_shots_are_more_panels(page):
    before = picture(page)
    press(page, "shots", "ArrowRight")
    after = picture(page, unlike=before)
    assert size(after)[0] > size(before)[0] + 100                   # one more support image
    assert page.locator("img.widget-image").bounding_box()["width"] == size(after)[0]           # not blown up


def test_an_impossible_class_is_explained_under_the_picture(page):
    before = picture(page)
    row(page, "class").locator("select").select_option("doughnut")      # a class of fold 1
    note = page.locator(".widget-vbox > *").last
    playwright.expect(note).to_contain_text("expected a class of fold 0", timeout=1000 * PATIENCE)
    box = note.bounding_box()
    assert box["y"] >= page.locator("img.widget-image").bounding_box()["y"]
    assert picture(page) == before                                  # the last good picture stays
    row(page, "class").locator("select").select_option("any")
    playwright.expect(note).to_have_text("", timeout=1000 * PATIENCE)


def test_a_moved_slider_cuts_other_patches(browser, lab, capsys):
    """Notebook 03: to the least and the most patches, then squarer ones; the outlines are those of ``slic_patches``."""
    page, image = opened(browser, lab, NOTEBOOKS[1]), photo("astronaut", 176)
    shown, times = picture(page), []
    assert shown == strip(panels(image, slic_patches(image, 50, 10)), height=240)
    for name, key, K, m in (("K", "Home", 4, 10), ("K", "End", 400, 10), ("compactness", "ArrowRight", 400, 30)):
        times.append(press(page, name, key))
        shown = picture(page, unlike=shown)
        assert shown == strip(panels(image, slic_patches(image, K, m)), height=240)
    with capsys.disabled():
        print(f"\nkey press to new patches, ms: {', '.join(f'{t:.0f}' for t in times)}")


def test_a_moved_threshold_redraws_the_regions(browser, lab, capsys):
    """Notebook 05: the maps stay, the regions shrink with the threshold and come back with it; episodes change both."""
    page = opened(browser, lab, NOTEBOOKS[2])
    start, times = picture(page), []
    times.append(press(page, "threshold %", "ArrowRight"))
    higher = picture(page, unlike=start)
    times.append(press(page, "threshold %", "ArrowLeft"))
    assert picture(page, unlike=higher) == start
    times.append(press(page, "threshold %", "End"))
    nothing = picture(page, unlike=start)
    assert size(nothing) == size(start) and colours(nothing) < colours(start)          # no map exceeds 1: no region
    press(page, "episode", "ArrowRight")
    other = picture(page, unlike=nothing)
    press(page, "shots", "ArrowRight")
    picture(page, unlike=other)                                                        # fails if it does not change
    with capsys.disabled():
        print(f"\nkey press to new regions, ms: {', '.join(f'{t:.0f}' for t in times)}")


def test_a_chosen_window_redraws_the_prior(browser, lab, capsys):
    """Notebook 07: another window, no self-activation and other features change the maps, and back is back."""
    page = opened(browser, lab, NOTEBOOKS[3])
    start = picture(page)
    seen = [start]
    for name, choice in (("windows", "1 x 1"), ("self-activation", "off"), ("features", "centred")):
        row(page, name).locator("select").select_option(choice)
        seen.append(picture(page, unlike=seen[-1]))
    assert len(set(seen)) == 4 and {size(png) for png in seen} == {size(start)}
    for name, choice in (("features", "layer 4"), ("self-activation", "on"), ("windows", "all three")):
        row(page, name).locator("select").select_option(choice)
        seen.append(picture(page, unlike=seen[-1]))
    assert seen[-1] == start
    took = press(page, "episode", "ArrowRight")
    picture(page, unlike=start)                                                        # fails if it does not change
    with capsys.disabled():
        print(f"\nkey press to another episode's maps, ms: {took:.0f}")


def drag(page, start, end, steps=6):
    """Draws with the mouse from one place of the photo to another, both in shares of its sides; milliseconds until the next picture."""
    frame = page.locator(".fsslib-board canvas").bounding_box()
    (x0, y0), (x1, y1) = ((frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]) for x, y in (start, end))
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=steps)
    page.locator("img.widget-image").evaluate("""image => {
        window.loaded = new Promise(done => document.addEventListener('pointerup', () => {
            const lifted = performance.now();
            image.addEventListener('load', () => done(performance.now() - lifted), {once: true});
        }, {once: true, capture: true}));
    }""")
    page.mouse.up()
    return page.evaluate("Promise.race([window.loaded, new Promise((_, no) => setTimeout(no, %d))])" % (1000 * PATIENCE))


def test_the_mask_follows_box_and_scribbles_and_comes_back(browser, lab, capsys):
    """The widget of notebook 09, by mouse: every stroke changes the mask in the other picture, undo takes each of them back."""
    page = opened(browser, lab, Path("drawing.ipynb"))
    page.locator(".fsslib-board canvas").wait_for()
    seen, times = [picture(page)], []
    drag(page, (0.2, 0.5), (0.7, 0.95))
    seen.append(picture(page, unlike=seen[-1]))
    row(page, "tool").locator("select").select_option("scribble")
    row(page, "strokes").locator("select").select_option("on the thing")
    for at in range(10):
        times.append(drag(page, (0.05 + 0.06 * at, 0.05), (0.9, 0.25 + 0.06 * at)))
        seen.append(picture(page, unlike=seen[-1]))
    page.get_by_role("button", name="save", exact=True).click()
    note = page.locator(".widget-vbox > *").last
    playwright.expect(note).to_contain_text("1 outlined photos", timeout=1000 * PATIENCE)
    saved = open_dataset("folder", note.inner_text().rpartition(" in ")[2])
    assert saved.class_names == ("one", "two") and set(np.unique(saved.mask(0))) == {0, 1}
    for earlier in seen[-2::-1]:
        page.get_by_role("button", name="undo", exact=True).click()
        until = time.monotonic() + PATIENCE
        while picture(page) != earlier:
            assert time.monotonic() < until, "undo did not bring the picture back"
    with capsys.disabled():
        print(f"\nmouse up to new mask, ms: median {sorted(times)[5]:.0f} of {', '.join(f'{t:.0f}' for t in times)}")


def colours(png):
    """Number of pixels in the colour of a region's outline, which is thinner than a pixel once the picture is made smaller."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return int((np.abs(pixels - WAYS[0]).max(-1) < 40).sum())
