"""Page: what a household reads on it, without scripts, in its language, and that it adds up."""

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from meshnode.views import LineRow
from meshnode.web import charts, page, texts
from meshnode.web.backend import FoundOut
from meshnode.web.history import STEPS, History, Point, power_now
from meshnode.web.html import Html, fill
from meshnode.web.parts import PARTS
from meshnode.web.texts import LANGUAGES, TEXTS, Words, language_of
from meshnode.web.zone import Zone
from protocols.evidence import EvidenceKind
from protocols.raft import Role
from tests.web.client import get
from tests.web.hand_made import HandMade, SetClock, serving
from tests.web.street import MARKET, MIDNIGHT_S, PERIOD_S, Counted, Street
from zencode.presets import preset

# The first page of a node, with everything it loads.
MAX_FIRST_PAGE_BYTES = 300 * 1024
VOID = {"meta", "link", "img", "path", "rect", "input", "br"}


class Reader(HTMLParser):
    """Reads a page as a strict person: every element closed, no inline style or script, nothing from elsewhere."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.feed(markup)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        assert len(names) == len(attrs), f"<{tag}> says something twice"
        assert not [name for name in names if name == "style" or name.startswith("on")]
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.loads += [value for name, value in attrs if name in ("src", "href") and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        assert not self.open or self.open[-1] not in ("style", "script")
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


async def read(address: str, path: str = "/", **headers: str) -> Reader:
    answer = await get(address, path, **headers)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return Reader(answer.body.decode())


async def test_the_page_says_everything_without_scripts(address: str, backend: HandMade) -> None:
    backend.hear("emil", -350, 900)
    backend.hear("dora", 1240)
    await get(address, "/")
    found = await read(address)
    day = backend.views.day(backend.account, MIDNIGHT_S, MIDNIGHT_S + 86400)
    for energy_wh in (day.own_wh, day.neighbours_wh, day.grid_wh, day.sold_wh, day.fed_in_wh):
        assert Words("en").energy(energy_wh).replace("\u00a0", " ") in found.text
    assert f"{Words('en').kwh(day.consumption_wh)} kWh used" in found.text
    assert "Borgo Sole" in found.text
    assert "emil\u2019s home" in found.text
    assert "350 W given" in found.text
    assert "roof 900 W, in use 550 W" in found.text
    assert "1\u202f240".replace("\u202f", " ") in found.text.replace("\u202f", " ")
    # Half past two and 137 seconds: 12 minutes and 43 seconds are left of the period.
    assert "12:43 left 14:30\u201314:45" in found.text
    assert "carla → dora" in found.text
    assert "The community owes this home" in found.text
    assert "clock" not in found.text.lower().replace("clock 14:32:17, real time", "")


async def test_every_part_can_be_had_alone_and_is_the_same(address: str, backend: HandMade) -> None:
    backend.hear("emil", 500)
    parts = (await get(address, f"/parts?of={','.join(PARTS)}&lang=it")).json
    assert set(parts) == set(PARTS)
    whole = (await get(address, "/?lang=it")).body.decode()
    for name, markup in parts.items():
        Reader(markup)
        if name != "power":  # the line may have got a point in between
            assert markup in whole, name


async def test_languages(address: str) -> None:
    assert "Power now" in (await read(address)).text
    assert "Potenza adesso" in (await read(address, "/?lang=it")).text
    italian = await read(address, accept_language="fr-FR, it-IT;q=0.8, en;q=0.5")
    assert "Potenza adesso" in italian.text
    assert "0,30 EUR" in italian.text
    assert "Power now" in (await read(address, "/?lang=xx", accept_language="it;q=none")).text


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "it", "it"),
        (None, "de, fr;q=0.9", "en"),
        (None, "en;q=0.4, it;q=0.6", "it"),
        (None, "en, it", "en"),
        (None, ",;q=,it;q=1.0.0," + "en-GB," * 500, "en"),
        ("it", "en", "it"),
        ("<script>", "it", "it"),
    ],
)
def test_the_language_of_a_browser(asked: str | None, accepted: str, language: str) -> None:
    assert language_of(asked, accepted) == language


def test_every_text_is_there_in_every_language_with_the_same_places() -> None:
    for key, columns in TEXTS.items():
        assert len(columns) == len(LANGUAGES), key
        places = {tuple(sorted(re.findall(r"\{(\w+)\}", text))) for text in columns}
        assert len(places) == 1, key
        assert all(text.strip() == text != "" for text in columns), key


def test_every_text_is_used() -> None:
    folder = Path(page.__file__).parent
    source = "".join(path.read_text() for path in sorted(folder.glob("*.py")) if path.name != "texts.py")
    # Names of roles, sources and states of orders are put together with what they belong to.
    roles = {f"role_{role.name.lower()}" for role in Role} | {"role_learner"}
    # So are the rules of evidence, and what became of it.
    roles |= {f"lie_{kind.name.lower()}" for kind in EvidenceKind} - {"lie_answer"}
    roles |= {"found_out_asked", "found_out_answered"}
    assert roles <= TEXTS.keys()
    advice = {"advice_gone", "advice_even", "advice_back"}
    # Those of one thing are chosen beside those of many.
    single = {key for key in TEXTS if key.removesuffix("_1") in TEXTS.keys() - {key}}
    made = roles | advice | {"own", "cancelled", "open"} | single
    assert [key for key in TEXTS if f'"{key}"' not in source and key not in made] == []


async def test_the_first_page_is_small_and_all_from_here(address: str, backend: HandMade) -> None:
    """The whole of it: a day in the chart, and every file that it loads."""
    for number in range(58, 95):
        start = MIDNIGHT_S + number * PERIOD_S
        backend.street.settle(start, {home: Counted(200, 0, 50) for home in backend.street.homes})
    backend.clock = SetClock(MIDNIGHT_S + 95 * PERIOD_S)
    answer = await get(address, "/")
    found = Reader(answer.body.decode())
    assert len(found.ids) == len(set(found.ids))
    files = {path for path in found.loads if not path.startswith("?lang=")}
    assert all(re.fullmatch(r"/static/[a-z]+\.(css|js|svg)", path) for path in files)
    sizes = {path: len((await get(address, path)).body) for path in files}
    total = len(answer.body) + sum(sizes.values())
    print(f"first page: {len(answer.body)} bytes, with {sizes}: {total}")
    assert total < MAX_FIRST_PAGE_BYTES // 4


async def test_files_are_sent_again_only_when_they_changed(address: str) -> None:
    first = await get(address, "/static/page.js")
    assert first.headers["content-type"].startswith("text/javascript")
    again = await get(address, "/static/page.js", if_none_match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")


async def test_a_young_community_has_a_page_too(tmp_path: Path) -> None:
    street = Street(tmp_path, 3)
    backend = HandMade(street, "anna", SetClock(MIDNIGHT_S + 5))
    async with serving(backend) as address:
        found = await read(address)
    assert "No period has been settled yet today." in found.text
    assert "not heard yet" in found.text
    assert "No trades yet." in found.text
    assert "No block yet." in found.text
    assert "Nothing is owed either way" in found.text
    street.views.close()


async def test_a_learner_names_the_leader_of_the_newest_block(
    backend: HandMade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes part in no election, so nobody tells it."""
    made, seen = backend.views.recent_blocks(1)[0], backend.status()
    learner = msgspec.structs.replace(seen, role="learner", leader="", validators=1)
    monkeypatch.setattr(backend, "status", lambda: learner)
    async with serving(backend) as address:
        found = await read(address)
        assert f"Leader {made.leader or made.leader_key[:8]} Height" in found.text
        assert "nobody yet" not in found.text
        assert f"{seen.peers} connected, 1 validator Clock" in found.text
        voter = msgspec.structs.replace(learner, role="candidate")
        monkeypatch.setattr(backend, "status", lambda: voter)
        assert "Leader nobody yet" in (await read(address)).text


def test_one_thing_is_spoken_of_as_one() -> None:
    english, italian = Words("en"), Words("it")
    assert english.counted(1, "heard", heard=0, meters=1) == "0 of 1 meter heard."
    assert english.counted(5, "heard", heard=1, meters=5) == "1 of 5 meters heard."
    assert italian.counted(1, "estimated", count=1, periods=12) == (
        "1 periodo (su 12) è stimato finché non arriva la lettura."
    )
    assert english.counted(2, "estimated", count=2, periods=12).startswith("2 of 12 periods rest ")


async def test_a_demonstration_says_so(backend: HandMade) -> None:
    backend.clock = SetClock(backend.clock.now_s(), 180)
    async with serving(backend) as address:
        found = await read(address)
    assert "Demonstration clock: time runs 180 times faster here." in found.text
    assert "demonstration, 180 times faster" in found.text


async def test_a_binding_without_orders_and_one_that_hides_names(tmp_path: Path, backend: HandMade) -> None:
    street = Street(tmp_path / "shared", 3, text=preset("mid_market_village"))
    street.begin()
    sharing = HandMade(street, "anna", SetClock(MIDNIGHT_S + 5))
    async with serving(sharing) as address:
        assert "The binding takes no orders: surplus is shared." in (await read(address)).text
    street.views.close()


async def test_names_that_the_binding_hides_are_not_shown(tmp_path: Path) -> None:
    """What this binding hides from everyone is who ordered; one's own name stays."""
    text = MARKET.replace("let 'prosumer' see 'all trades'", "hide 'order owner names' from 'everyone'")
    assert text != MARKET
    street = Street(tmp_path, 3, text)
    street.begin()
    bid = street.order("bela", "buy", MIDNIGHT_S, 300, 240_000)
    offer = street.order("carla", "sell", MIDNIGHT_S, 300, 130_000)
    street.settle(MIDNIGHT_S, {"anna": Counted(), "bela": Counted(300), "carla": Counted(0, 300, 300)}, bid, offer)
    shown = {}
    for home in ("anna", "bela"):
        backend = HandMade(street, home, SetClock(MIDNIGHT_S + PERIOD_S))
        async with serving(backend) as address:
            shown[home] = Reader((await get(address, "/parts?of=trades")).json["trades"]).text
    assert "a neighbour → a neighbour" in shown["anna"]
    assert "a neighbour → bela" in shown["bela"]
    street.views.close()


async def test_names_cannot_bring_markup_along(tmp_path: Path) -> None:
    """The characters of markup are allowed in names; they are text all the same."""
    plain = Street(tmp_path, 3)
    first, *others = plain.village.genesis.members
    plain.views.close()
    evil = msgspec.structs.replace(first, name="<script>alert('1')</script>\"&{x}")
    street = Street(tmp_path / "evil", 3, members=(evil, *others), community="<b>Borgo & {Sole}</b>")
    street.begin()
    backend = HandMade(street, "anna", SetClock(MIDNIGHT_S + 5))
    async with serving(backend) as address:
        answer = (await get(address, "/")).body.decode()
    assert "<script>alert" not in answer
    assert "<b>Borgo" not in answer
    found = Reader(answer)
    assert "<script>alert('1')</script>\"&{x}" in found.text
    assert "<b>Borgo & {Sole}</b>" in found.text
    street.views.close()


def test_only_markup_is_not_escaped() -> None:
    inner = fill("<b>{text}</b>", text="a < b & c")
    assert fill("<p>{inner} {plain}</p>", inner=inner, plain="<i>") == "<p><b>a &lt; b &amp; c</b> &lt;i&gt;</p>"
    assert isinstance(inner, Html)


def rectangles(svg: str) -> list[tuple[str, int, int, int]]:
    """(class, x, width, height) of all bars of a chart."""
    found = re.findall(r'<rect class="(\w+)" x="(\d+)" y="\d+" width="(\d+)" height="(\d+)"', svg)
    return [(name, int(x), int(width), int(height)) for name, x, width, height in found]


def line(number: int, own_wh: int, neighbours_wh: int, grid_wh: int) -> LineRow:
    used = own_wh + neighbours_wh + grid_wh
    start = MIDNIGHT_S + number * PERIOD_S
    return LineRow(own_wh, neighbours_wh, grid_wh, used, 0, 0, start, "aa", "anna", 0, 0, 0, 0, None, 3, True)


def test_bars_are_as_high_as_their_energies() -> None:
    zone = Zone(((0, 7200),))
    chart = charts.energy([line(0, 100, 50, 50), line(1, 0, 0, 400)], PERIOD_S, Words("en"), zone)
    bars = rectangles(chart)
    assert [(name, height) for name, _, _, height in bars] == [
        ("own", 50),
        ("neighbours", 25),
        ("grid", 25),
        ("grid", 200),
    ]
    # Two periods of the least 24 that the chart has room for, at its right end.
    assert [x for _, x, _, _ in bars] == [22 * 1000 // 24] * 3 + [23 * 1000 // 24]
    assert (
        "<title>00:15\u201300:30: Own roof 0.000\u00a0kWh, Neighbours 0.000\u00a0kWh, Grid 0.400\u00a0kWh</title>"
        in chart
    )


@pytest.mark.parametrize(
    ("low", "high", "values"),
    [
        (0, 100, [0, 50, 100]),
        (0, 430, [0, 200, 400, 600]),
        (-1850, 640, [-2000, -1000, 0, 1000]),
        (0, 1, [0, 1]),
        (0, 10**9, [0, 5 * 10**8, 10**9]),
        (-7, -3, [-7, -6, -5, -4, -3]),
    ],
)
def test_grid_lines_stand_at_round_numbers(low: int, high: int, values: list[int]) -> None:
    found = list(charts.steps(low, high))
    assert found[0] <= low <= high <= found[-1]
    assert len(found) <= charts.MAX_INTERVALS + 1
    assert found == values


def test_the_line_is_broken_where_nothing_was_heard() -> None:
    points = [Point(100, 500, 0), Point(115, 600, 0), Point(3000, 700, 0)]
    chart = charts.power(points, 3700, 3600, Words("en"), Zone(((0, 0),)))
    home = re.search(r'class="line home" d="([^"]+)"', chart)
    assert home is not None
    assert re.findall("[ML]", home.group(1)) == ["M", "L", "M"]


def test_history_keeps_one_window(backend: HandMade) -> None:
    backend.clock = SetClock(MIDNIGHT_S, going=False)
    history = History(backend)
    history.note()
    assert history.points() == ()
    for second in range(0, 2 * 3600, 5):
        backend.clock._now_s = MIDNIGHT_S + second
        backend.hear("emil", second)
        history.note()
    points = history.points()
    assert len(points) == STEPS
    assert points[-1].own_w == 2 * 3600 - 5
    assert points[0].time_s >= backend.clock.now_s() - history.window_s


@pytest.mark.parametrize(("speed", "hours"), [(1, 1), (60, 1), (180, 3), (8640, 144)])
def test_a_fast_clock_widens_the_window(backend: HandMade, speed: int, hours: int) -> None:
    backend.clock = SetClock(MIDNIGHT_S, speed)
    assert History(backend).window_s == hours * 3600


def test_power_that_is_not_heard_any_more_does_not_count(backend: HandMade) -> None:
    backend.hear("emil", 300, 100)
    backend.hear("anna", -700)
    live = backend.live()
    now_ms = live[0].shown_ms
    power = power_now(live, backend.account, now_ms)
    assert (power.own_w, power.own_produced_w, power.taken_w, power.given_w, power.heard) == (300, 100, 300, 700, 2)
    silent = power_now(live, backend.account, now_ms + 61_000)
    assert (silent.own_w, silent.heard) == (None, 0)


# In Rome in 2027: an ordinary day, the day that has 23 hours, and the one that has 25.
@pytest.mark.parametrize(("second", "hours"), [(1_813_546_000, 24), (1_806_200_000, 23), (1_824_980_000, 25)])
def test_days_of_23_and_25_hours(second: int, hours: int) -> None:
    zone = Zone(((0, 3600), (1_806_195_600, 7200), (1_824_944_400, 3600)))
    begin, end = zone.day(second)
    assert begin <= second < end
    assert end - begin == hours * 3600
    assert zone.clock(begin) == "00:00"
    assert zone.clock(end) == "00:00"
    assert zone.date(begin) == zone.date(end - 1)
    assert zone.date(end) != zone.date(begin)


def test_numbers_are_written_exactly() -> None:
    english, italian = Words("en"), Words("it")
    assert english.kwh(7_412) == "7.412"
    assert italian.kwh(-5) == "\u22120,005"
    assert english.money(-1_284_390, "EUR") == "\u22121.28439 EUR"
    assert italian.money(300_000, "EUR") == "0,30 EUR"
    assert english.power(-12_400) == "\u221212\u202f400\u00a0W"
    assert texts.DEFAULT in LANGUAGES


async def test_who_was_found_out_is_said_in_words(address: str, backend: HandMade) -> None:
    assert "Found out" not in (await read(address)).text
    backend.found_out = tuple(
        FoundOut("bela", kind.name, 3, 12, status, True)
        for kind in EvidenceKind
        if kind is not EvidenceKind.ANSWER
        for status in ("proved", "asked", "answered")
    )
    text = (await read(address)).text
    assert "Found out: the node of bela voted for two candidates in term 3." in text
    assert "The node of bela is asked why it acknowledged block 12 and voted in term 3" in text
    assert "{" not in text
    italian = (await read(address, **{"accept-language": "it"})).text
    assert "Scoperto: il nodo di bela ha votato per due candidati nel mandato 3." in italian and "{" not in italian
