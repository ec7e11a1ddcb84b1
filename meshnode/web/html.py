"""Html: text with its markup, and filling values into it. What is not `Html` is escaped, always."""

from __future__ import annotations

import html
import string
from collections.abc import Iterable
from typing import Any


class Html(str):
    """Markup that is safe to send."""

    __slots__ = ()


class _Filler(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        text = format(value, format_spec) if format_spec else str(value)
        return text if isinstance(value, Html) else html.escape(text)


_FILLER = _Filler()


def fill(template: str, **values: Any) -> Html:
    """Put values into `{places}` of a template; the template is trusted, text values are escaped."""
    return Html(_FILLER.vformat(template, (), values))


def join(parts: Iterable[Html]) -> Html:
    """Markup one after another."""
    return Html("".join(parts))
