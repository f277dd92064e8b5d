"""The one-file report in a browser: offline, without complaints, true to the JSON, and alive."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import INSTANCES
from written_report import EVIL, Written, write_report

from mocap_opt import load_instance, solve
from mocap_opt.pictures.html import html_report
from mocap_opt.pictures.run_view import SAMPLES
from mocap_opt.schedule.verify import memory_use
from mocap_opt.units import format_percent

KEYS = ("status", "latency_s", "lower_bound_s", "gap", "execution", "lockstep_latency_s", "event_latency_s")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_report(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium that keeps its console and every request."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-dev-shm-usage"
    quiet = "disable-background-networking disable-component-update disable-sync hide-scrollbars"
    for flag in f"{flags} {quiet}".split():
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, written) -> Any:
    """The report, loaded afresh in a window of 1400 x 1300."""
    return open_page(browser, written.page, 1400, 1300)


def open_page(browser: Any, page: Path, width: int, height: int) -> Any:
    browser.set_window_size(width, height)
    browser.get(page.as_uri())
    wait_for(browser, "document.body.dataset.ready === 'yes'")
    return browser


def wait_for(browser: Any, condition: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait  # noqa: PLC0415 - optional

    WebDriverWait(browser, 30).until(lambda b: b.execute_script(f"return {condition}"))


def column(browser: Any, model: str, field: str) -> list[Any]:
    """A column of a source of the page."""
    script = "return Array.from(Bokeh.documents[0].get_model_by_name(arguments[0]).data[arguments[1]])"
    found: list[Any] = browser.execute_script(script, model, field)
    return found


def move_slider(browser: Any, place: int) -> None:
    script = "const s = document.getElementById('instant'); s.value = arguments[0];"
    browser.execute_script(script + "s.dispatchEvent(new Event('input'))", place)


TOOLTIPS = """
const found = [];
function text(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.textContent;
  if (node.nodeName === "STYLE") return "";
  return Array.from(node.childNodes).map(text).join("") + (node.shadowRoot ? text(node.shadowRoot) : "");
}
function walk(root) {
  for (const element of root.querySelectorAll("*")) {
    if (element.classList.contains("bk-Tooltip")) found.push(text(element));
    if (element.shadowRoot) walk(element.shadowRoot);
  }
}
walk(document);
return found.join(" ").replace(/\\s+/g, " ");
"""

PLACE = """
const plot = Bokeh.documents[0].get_model_by_name("timeline");
const view = Bokeh.index.find_one(plot);
view.el.scrollIntoView({block: "center"});
const box = view.el.getBoundingClientRect();
const x = view.frame.x_scale.compute(arguments[0]), y = view.frame.y_scale.compute(arguments[1]);
return [Math.round(box.x + x), Math.round(box.y + y)];
"""


def point_at(browser: Any, time: float, stage: float) -> str:
    """What the timeline says about a place."""
    from selenium.webdriver.common.action_chains import ActionChains  # noqa: PLC0415 - optional

    x, y = browser.execute_script(PLACE, time, stage)
    for step in (0, 1):
        chain = ActionChains(browser)
        chain.w3c_actions.pointer_action.move_to_location(x + step, y)
        chain.perform()
    wait_for(browser, f"(function () {{{TOOLTIPS}}})() !== ''")
    said: str = browser.execute_script(TOOLTIPS)
    return said


@pytest.mark.parametrize(("width", "height"), [(1400, 1300), (700, 900)])
def test_it_opens_offline_without_a_complaint(browser, written, width, height):
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    open_page(browser, written.page, width, height)
    complaints = [entry for entry in browser.get_log("browser") if entry["level"] not in ("INFO", "DEBUG")]
    assert complaints == []
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert written.page.as_uri() in asked
    assert [url for url in asked if not url.startswith(("data:", "blob:")) and url != asked[0]] == []
    assert browser.execute_script("return window.hacked") is None
    # Wide tables scroll inside the page; the page itself does not.
    wide = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
    shown = browser.execute_script("return document.querySelectorAll('[data-root-id]').length")
    assert shown == 3


def test_it_shows_the_figures_of_the_json(opened, written):
    script = """return Object.fromEntries(Array.from(document.querySelectorAll("#methods tbody td"))
        .map(cell => [cell.dataset.key, [JSON.parse(cell.dataset.value), cell.textContent]]))"""
    cells = opened.execute_script(script)
    for key in KEYS:
        value = written.answer[key]
        assert cells[key][0] == value
        if key.endswith("_s"):
            # The unit of this page is the second, and the header names it.
            assert float(cells[key][1]) == pytest.approx(value, rel=1e-4)
        elif key == "status":
            assert cells[key][1].startswith(value)
        else:
            assert cells[key][1] == (format_percent(value) if key == "gap" else value)
    script = """return Array.from(document.querySelectorAll('#stages td[data-key="peak_memory_bytes"]'))
        .map(cell => JSON.parse(cell.dataset.value))"""
    assert opened.execute_script(script) == written.answer["peak_memory_bytes"]
    fingerprint = opened.find_element("id", "fingerprint").text
    assert fingerprint == f"fingerprint {written.answer['fingerprint']}"
    assert EVIL in opened.find_element("tag name", "body").text
    versions = opened.find_element("id", "versions").text
    assert f"highspy {written.answer['versions']['highspy']}" in versions


def test_the_timeline_ends_at_the_reported_latency(opened, written):
    assert opened.find_element("id", "scene-latency").text.endswith(written.answer["execution"])
    ends = column(opened, "edges-0", "edge")
    # The unit of this page is the second.
    assert ends[-1] == pytest.approx(written.answer["latency_s"], rel=1e-9)
    assert ends[-1] == pytest.approx(written.view.latency_s, rel=1e-9)


def test_pointing_at_a_chunk_tells_its_times_waits_and_bytes(opened, written):
    view = written.view
    reads = {(t.stage, t.chunk): t.size for t in view.transfers if t.kind.value == "KV read"}
    stage, chunk = max(reads, key=lambda key: reads[key])
    seconds_per_tick = float(view.tables.tick_s)
    compute = next(
        i for i in view.intervals if (i.stage, i.chunk, i.activity.name) == (stage, chunk, "COMPUTE")
    )
    start, end = float(compute.start) * seconds_per_tick, float(compute.end) * seconds_per_tick
    said = point_at(opened, (start + end) / 2, stage)
    first, last = view.plan.boundaries[chunk : chunk + 2]
    assert f"stage {stage}, chunk {chunk}: tokens {first} to {last}" in said
    assert f"starts {start:.6f} s, computed {end:.6f}" in said
    assert f"remote KV read: {reads[stage, chunk] / 1e9:.3f} GB" in said
    for wait in view.intervals:
        if (wait.stage, wait.chunk) == (stage, chunk) and wait is not compute:
            length = float(wait.end - wait.start) * seconds_per_tick
            assert f"{wait.activity.value} {length:.6f} s" in said


def test_pointing_at_a_wait_names_it(opened, written):
    waits = [i for i in written.view.intervals if i.activity.name == "QUEUE"]
    wait = max(waits, key=lambda i: i.end - i.start)
    tick = float(written.view.tables.tick_s)
    said = point_at(opened, float(wait.start + wait.end) / 2 * tick, wait.stage)
    assert f"stage {wait.stage}, waiting for queue room (chunk {wait.chunk})" in said
    assert f"{float(wait.end - wait.start) * tick:.6f}" in said


def test_the_slider_moves_memory_and_wafer_through_the_slots(opened, written):
    view, tables = written.slots, written.slots.tables
    opened.execute_script(
        "const c = document.getElementById('scene'); c.value = '1'; c.dispatchEvent(new Event('change'))"
    )
    assert opened.find_element("id", "scene-latency").text.endswith("lockstep")
    held = memory_use(tables, view.plan)
    for slot in (0, view.plan.chunks, held.shape[1] - 1):
        move_slider(opened, slot)
        assert opened.find_element("id", "readout").text.startswith(f"slot {slot} of {held.shape[1]}:")
        shown = column(opened, "memory-now", "total")
        assert shown == pytest.approx((held[:, slot] / 1e9).tolist())
        assert column(opened, "memory-now", "peak") == pytest.approx((held.max(axis=1) / 1e9).tolist())
        links = np.array(column(opened, "links-now", "load"))
        assert links == pytest.approx(100 * view.load.link[:, slot], rel=1e-5)
        assert column(opened, "links-now", "name") == list(tables.links)
        owners, loads = column(opened, "ports-now", "stage"), column(opened, "ports-now", "load")
        assert loads == pytest.approx([100 * view.load.port[k, slot] for k in owners], rel=1e-5)


def test_the_fullest_moment_of_all_intervals_is_the_peak_of_the_run(opened, written):
    script = """
    const slider = document.getElementById("instant"), most = [];
    const now = Bokeh.documents[0].get_model_by_name("memory-now");
    for (let place = 0; place <= Number(slider.max); place++) {
      slider.value = place;
      slider.dispatchEvent(new Event("input"));
      now.data.total.forEach((held, k) => { most[k] = Math.max(most[k] ?? 0, held); });
    }
    return [Number(slider.max), most];
    """
    last, fullest = opened.execute_script(script)
    assert last == SAMPLES - 1
    assert fullest == pytest.approx(written.view.memory.peak / 1e9)


def test_a_tap_moves_the_instant(opened, written):
    opened.execute_script("window.mocapSeek(arguments[0])", written.view.latency_s / 2)
    assert int(opened.find_element("id", "instant").get_property("value")) in (119, 120)
    before = opened.find_element("id", "readout").text
    opened.find_element("id", "instant").send_keys("\ue014")  # the right arrow key
    assert opened.find_element("id", "readout").text != before


def test_paper_gets_pictures_of_the_plots(opened):
    kept = "return [document.querySelectorAll('.printed canvas').length, document.body.className]"
    opened.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert opened.execute_script(kept) == [3, "printing"]
    opened.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert opened.execute_script(kept) == [0, ""]


def test_two_plans_share_the_axis_of_time_and_the_instant(browser, tmp_path):
    instance = load_instance(INSTANCES / "tiny-pooled.json")
    answers = [(name, solve(instance, name)) for name in ("search-greedy", "mocap")]
    page = tmp_path / "two.html"
    page.write_text(html_report(instance, answers))
    browser.get_log("browser")
    open_page(browser, page, 1280, 900)
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert browser.execute_script("return document.querySelectorAll('[data-root-id]').length") == 6
    script = """return ["timeline", "second-timeline"].map(
        name => Bokeh.documents[0].get_model_by_name(name).x_range.id)"""
    first, second = browser.execute_script(script)
    assert first == second
    ends = [column(browser, name, "edge")[-1] for name in ("edges-0", "second-edges-0")]
    assert browser.execute_script(
        "return Bokeh.documents[0].get_model_by_name('time-range').end"
    ) == pytest.approx(max(ends))
    leader = int(ends[1] > ends[0])
    move_slider(browser, 7)
    script = """return ["now", "second-now"].map(name => {
        const band = Bokeh.documents[0].get_model_by_name(name); return [band.left, band.right]; })"""
    bands = browser.execute_script(script)
    middle = sum(bands[leader]) / 2
    left, right = bands[1 - leader]
    assert left <= middle
    assert middle <= right or right == ends[1 - leader]
