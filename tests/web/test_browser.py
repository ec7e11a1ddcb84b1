"""The page in a browser: news come in without reloading, nothing is fetched from elsewhere, nothing complains."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from tests.web.browser import Browser, browser, missing
from tests.web.hand_made import HandMade, SetClock, serving
from tests.web.street import MIDNIGHT_S, PERIOD_S, Counted

PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 900}
# A period that is about to end when the page is opened.
START = MIDNIGHT_S + 58 * PERIOD_S

# Elements whose text does not fit, or that stick out of the screen; tables may be scrolled.
OVERFLOWING = """return [...document.querySelectorAll("body *")].filter((one) => {
  const box = one.getBoundingClientRect();
  return box.width && !one.closest(".scroll, svg, caption") && (box.right > innerWidth + 1 || box.left < -1);
}).map((one) => one.outerHTML.slice(0, 120))"""

# Text whose colour stands out from its background by less than 4.5 to 1 (WCAG 2.2, 1.4.3).
FAINT = """const light = (rgb) => {
  const [r, g, b] = rgb.match(/[0-9.]+/g).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (one) => {
  for (let up = one; up; up = up.parentElement) {
    const colour = getComputedStyle(up).backgroundColor;
    if (!colour.endsWith(", 0)")) return colour;
  }
  return "rgb(255, 255, 255)";
};
return [...document.querySelectorAll("body *")].filter((one) =>
  [...one.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())
).filter((one) => {
  const [a, b] = [light(getComputedStyle(one).color), light(behind(one))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
}).map((one) => one.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    absent = missing()
    if absent:
        pytest.skip(absent)
    with browser(tmp_path_factory.mktemp("browser")) as window:
        yield window


@pytest.fixture
def window(chromium: Browser) -> Browser:
    """The window as at the start: no page, nothing said, nothing asked for."""
    chromium.open("about:blank")
    chromium.look(**DESKTOP)
    chromium.complaints()
    chromium.requests()
    return chromium


async def in_thread(call: Callable[..., Any], *values: Any, **options: Any) -> Any:
    return await trio.to_thread.run_sync(lambda: call(*values, **options))


def check_quiet(window: Browser, address: str) -> None:
    """The console said nothing, and every request went to the node."""
    assert window.complaints() == []
    foreign = [url for url in window.requests() if not url.startswith(f"{address}/") and urlsplit(url).scheme != "data"]
    assert foreign == []


async def shows(window: Browser, selector: str, text: str) -> None:
    await in_thread(
        window.until, lambda: text in window.text(selector), f"{text!r} at {selector}: {window.text(selector)!r}"
    )


async def test_power_and_periods_change_without_reloading(window: Browser, backend: HandMade) -> None:
    backend.hear("emil", 380)
    async with serving(backend) as address:
        await in_thread(window.open, address)
        await in_thread(window.run, "window.opened = 'once'")
        await shows(window, "#own", "380 W drawn")
        await shows(window, "#link", "Live")
        # A telegram of this home, and one of a neighbour's.
        backend.hear("emil", -1250, 1600)
        await shows(window, "#own", "1\u202f250 W given")
        await shows(window, "#roof", "roof 1\u202f600\u00a0W, in use 350\u00a0W")
        backend.hear("dora", 2500)
        await shows(window, "#net", "1\u202f250 W drawn")
        await shows(window, "#homes", "Homes draw 2\u202f500\u00a0W and give 1\u202f250\u00a0W")
        await shows(window, "#covered", "50 % of what homes draw")
        width = await in_thread(
            window.run, "return document.querySelector('#share-now .neighbours').getAttribute('width')"
        )
        assert width == "500"
        # The period ends: today, balance, chart and blocks follow the ledger.
        used = backend.views.day(backend.account, MIDNIGHT_S, MIDNIGHT_S + 86400).consumption_wh
        await in_thread(window.run, "document.getElementById('energy-table').open = true")
        readings = [backend.street.reading(home, START, Counted(111)) for home in backend.street.homes]
        backend.clock = SetClock(START + PERIOD_S + 3)
        backend.final(START + PERIOD_S, *readings)
        words = f"{(used + 111) // 1000}.{(used + 111) % 1000:03d} kWh used"
        await shows(window, '[data-part="today"]', words)
        await shows(window, '[data-part="blocks"]', str(backend.machine.height))
        await shows(window, '[data-part="energy"]', "14:30\u201314:45")
        assert await in_thread(window.run, "return document.getElementById('energy-table').open")
        assert await in_thread(window.run, "return window.opened") == "once"
        await in_thread(check_quiet, window, address)


async def test_the_clock_runs_and_the_period_counts_down(window: Browser, backend: HandMade) -> None:
    backend.clock = SetClock(START + 100, 60, going=True)
    async with serving(backend) as address:
        await in_thread(window.open, address)
        first = await in_thread(window.text, "#countdown b")
        await in_thread(window.until, lambda: window.text("#countdown b") not in ("", first), "another countdown")
        # 800 seconds are left when the page is asked for, sixty go by in a second.
        minutes, seconds = map(int, (await in_thread(window.text, "#countdown b")).split(":"))
        assert 0 < minutes * 60 + seconds < 800
        gone = await in_thread(window.run, "return document.getElementById('progress').value")
        assert gone > 100
        await shows(window, ".banner", "60 times faster")
        await in_thread(check_quiet, window, address)


async def test_a_lost_node_is_told_and_found_again(window: Browser, backend: HandMade) -> None:
    backend.hear("emil", 100)
    async with serving(backend) as address:
        await in_thread(window.open, address)
        await shows(window, "#link", "Live")
    await shows(window, "#link", "No connection to the node")
    backend.hear("emil", 222)
    async with serving(backend, listen=address.removeprefix("http://")) as again:
        assert again == address
        await shows(window, "#link", "Live")
        await shows(window, "#own", "222 W")
    refused = await in_thread(window.complaints)
    assert all("ERR_CONNECTION_REFUSED" in line or "ERR_INCOMPLETE_CHUNKED" in line for line in refused)
    await in_thread(window.requests)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("language", ["en", "it"])
async def test_everything_fits_and_can_be_read(window: Browser, backend: HandMade, size, dark: bool, language) -> None:
    for home, power_w in (("anna", -1850), ("bela", 640), ("carla", -12_400), ("emil", 11_380)):
        backend.hear(home, power_w, 900)
    backend.clock = SetClock(backend.clock.now_s(), 180)
    async with serving(backend) as address:
        await in_thread(window.look, **size, dark=dark)
        await in_thread(window.open, f"{address}/?lang={language}")
        await shows(window, "#link", "Live" if language == "en" else "In diretta")
        await in_thread(window.run, "document.querySelectorAll('details').forEach((one) => { one.open = true })")
        assert await in_thread(window.run, "return document.documentElement.scrollWidth <= innerWidth")
        assert await in_thread(window.run, OVERFLOWING) == []
        assert await in_thread(window.run, FAINT) == []
        await in_thread(check_quiet, window, address)


async def test_the_searches_find_what_they_look_for(window: Browser, backend: HandMade) -> None:
    async with serving(backend) as address:
        await in_thread(window.open, address)
        spoil = "const one = document.querySelector('footer p'); Object.assign(one.style, arguments[0])"
        await in_thread(window.run, spoil, {"color": "rgb(190, 190, 190)"})
        (found,) = await in_thread(window.run, FAINT)
        assert "Every home" in found
        await in_thread(window.run, spoil, {"width": "4000px"})
        (found,) = await in_thread(window.run, OVERFLOWING)
        assert "Every home" in found
        await in_thread(window.run, "fetch('http://127.0.0.2:1/').catch(() => 0)")
        with pytest.raises(AssertionError, match=r"Content Security Policy|127\.0\.0\.2"):
            await in_thread(check_quiet, window, address)


async def test_without_scripts_everything_is_there(window: Browser, backend: HandMade) -> None:
    backend.hear("emil", 380)
    async with serving(backend) as address:
        await in_thread(window.look, **PHONE, scripts=False)
        try:
            await in_thread(window.open, f"{address}/?lang=it")
            # The tree as the browser has it: scripts of ours do not run, those of the driver neither.
            tree = await in_thread(window.cdp, "DOMSnapshot.captureSnapshot", computedStyles=[])
            words = " ".join(tree["strings"])
        finally:
            await in_thread(window.look, **DESKTOP)
        for text in ("Potenza adesso", "Connessione", "Da dove è venuta", "Ultimi blocchi", "380"):
            assert text in words
        asked = await in_thread(window.requests)
        assert f"{address}/?lang=it" in asked
        assert not [url for url in asked if "/api/" in url or "/parts" in url]
        assert await in_thread(window.complaints) == []
