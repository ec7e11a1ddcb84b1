"""Page: the one page of a node - its frame, the parts in it, and the files it loads.

Reads without scripts (it then loads itself again now and then); with them, news come
in by themselves. Everything comes from this node.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.web import parts
from meshnode.web.backend import Backend
from meshnode.web.faults import Fault, Faults, answer, shown
from meshnode.web.figures import gather
from meshnode.web.history import History
from meshnode.web.html import Html, fill, join
from meshnode.web.parts import PARTS, Moment
from meshnode.web.texts import LANGUAGES, Words, language_of
from meshnode.web.zone import Zone

_STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

# Cards in the order of the page: (name of the part, its place in the grid).
_CARDS: Final = (
    ("today", "beside"),
    ("balance", "beside"),
    ("period", "half"),
    ("prices", "half"),
    ("energy", "wide"),
    ("trades", "half"),
    ("orders", "half"),
    ("blocks", "half"),
    ("node", "half"),
)

_PAGE: Final = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/page.css">
<script type="module" src="/static/page.js"></script>
<noscript><meta http-equiv="refresh" content="20"></noscript>
</head>
<body data-account="{account}" data-draws="{draws}" data-gives="{gives}" data-roof="{roof}" data-homes="{homes}"
 data-covered="{covered}">
<header>
<img src="/static/icon.svg" alt="" width="44" height="44">
<div><h1>{community}</h1><p>{home}</p></div>
<div class="side">
<p id="clock" data-now="{now_ms}" data-speed="{speed}" data-offset="{offset_s}">{clock}</p>
<p id="link" role="status" data-live="{live}" data-offline="{offline}">{connecting}</p>
<nav aria-label="{other}">{languages}</nav>
</div>
</header>
{banner}
<main>
<section class="card now"><h2>{now_title}</h2><div data-part="now">{now}</div>
<h3 class="chart-title">{power_title}</h3><div data-part="power">{power}</div></section>
{cards}
</main>
<footer><p>{footer}</p></footer>
</body>
</html>
"""
_CARD: Final = """<section class="card {place}"><h2>{title}</h2><div data-part="{name}">{content}</div></section>
"""


class File(msgspec.Struct, frozen=True):
    """A file that the page loads."""

    content: bytes
    media_type: str
    etag: str


def _files() -> dict[str, File]:
    found = {}
    for path in sorted(_STATIC.iterdir()):
        content = path.read_bytes()
        found[path.name] = File(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return found


class Page:
    """The page of one backend."""

    def __init__(self, backend: Backend, history: History) -> None:
        self._backend = backend
        self._history = history
        self._files = _files()

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [Route("/", self.page), Route("/parts", self.parts), Route("/static/{name}", self.file)]

    async def page(self, request: Request) -> Response:
        """GET /?lang: the whole page."""
        moment = await self._moment(request)
        text = render(moment)
        return Response(
            text, media_type="text/html", headers={"vary": "accept-language", "content-language": moment.words.language}
        )

    async def parts(self, request: Request) -> Response:
        """GET /parts?of=now,blocks&lang: {name of the part: its HTML}."""
        names = list(dict.fromkeys(request.query_params.get("of", "").split(",")))
        unknown = [name for name in names if name not in PARTS]
        if unknown:
            raise Faults(400, Fault("query of", shown(unknown[0]), f"names of parts, with commas: {', '.join(PARTS)}"))
        moment = await self._moment(request)
        return answer({name: str(PARTS[name](moment)) for name in names})

    async def file(self, request: Request) -> Response:
        """GET /static/{name}: a file of the page, by its ETag."""
        file = self._files.get(request.path_params["name"])
        if file is None:
            raise Faults(404, Fault("path", shown(request.url.path), f"/static/ and one of {', '.join(self._files)}"))
        headers = {"etag": file.etag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, media_type=file.media_type, headers=headers)

    async def _moment(self, request: Request) -> Moment:
        language = language_of(request.query_params.get("lang"), request.headers.get("accept-language", ""))
        return Moment(
            figures=await gather(self._backend),
            status=self._backend.status(),
            roster=self._backend.roster(),
            points=self._history.points(),
            window_s=self._history.window_s,
            words=Words(language),
            zone=Zone(self._backend.machine.genesis.zone_changes),
        )


def render(moment: Moment) -> Html:
    """The page of one moment."""
    words, figures = moment.words, moment.figures
    home = words("home_of", name=figures.name) if figures.name else words("visitor")
    banner = Html("")
    if figures.demonstration:
        banner = fill('<p class="banner">{text}</p>', text=words("demonstration", speed=figures.speed))
    cards = join(
        fill(_CARD, place=place, title=words(name), name=name, content=PARTS[name](moment)) for name, place in _CARDS
    )
    languages = join(
        fill(
            '<a href="?lang={key}" lang="{key}" hreflang="{key}"{current}>{name}</a>',
            key=key,
            name=name,
            current=Html(' aria-current="true"' if key == words.language else ""),
        )
        for key, name in LANGUAGES.items()
    )
    return fill(
        _PAGE,
        language=words.language,
        title=f"{home} \u00b7 {figures.community}",
        account=figures.account,
        draws=words("draws"),
        gives=words("gives"),
        roof=words("roof_now"),
        homes=words("homes_now"),
        covered=words("covered"),
        community=figures.community,
        home=home,
        now_ms=figures.now_ms,
        speed=figures.speed,
        offset_s=moment.zone.offset_s(moment.now_s),
        clock=moment.zone.clock(moment.now_s, seconds=True),
        live=words("live"),
        offline=words("offline"),
        connecting=words("connecting"),
        other=words("other_language"),
        languages=languages,
        banner=banner,
        now_title=words("now"),
        now=parts.now(moment),
        power_title=parts.power_title(moment),
        power=parts.power(moment),
        cards=cards,
        footer=words("every_node"),
    )
