"""Language server: bindings in editors - completion, mistakes while one types, spelling, meanings.

A thin coat over `zencode`: every answer is a function of the text alone, and only
their form is that of the Language Server Protocol 3.17 here. Examples at the end of
a text are carried out when it is opened or saved, not at every key.
"""

from __future__ import annotations

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.workspace import ServerTextPosition, TextDocument

from meshnode import __version__
from meshnode.examples import run_examples
from meshnode.plugins import install
from meshnode.rules import hindrances
from zencode import commands
from zencode.completion import KEYWORD, NAME_USED, SENTENCE, UNIT, VALUE, Proposal, complete
from zencode.hover import hover, hover_text
from zencode.mistakes import BindingErrors
from zencode.reader import read_document
from zencode.writer import WriteError

NAME = "meshnode-binding"
SOURCE = "binding"

_LEVELS = {
    commands.MISTAKE: lsp.DiagnosticSeverity.Error,
    "error": lsp.DiagnosticSeverity.Error,
    "warning": lsp.DiagnosticSeverity.Warning,
}
_KINDS = {
    KEYWORD: lsp.CompletionItemKind.Keyword,
    SENTENCE: lsp.CompletionItemKind.Snippet,
    NAME_USED: lsp.CompletionItemKind.Reference,
    VALUE: lsp.CompletionItemKind.Value,
    UNIT: lsp.CompletionItemKind.Unit,
}


def server() -> LanguageServer:
    """A server with all that it can do; its `start_io` answers an editor on stdin and stdout until that goes.

    It knows the packages that were installed when it was made.
    """
    install()
    made = LanguageServer(NAME, __version__, text_document_sync_kind=lsp.TextDocumentSyncKind.Incremental)

    @made.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        _publish(made, params.text_document.uri, examples=True)

    @made.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: lsp.DidSaveTextDocumentParams) -> None:
        _publish(made, params.text_document.uri, examples=True)

    @made.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        _publish(made, params.text_document.uri, examples=False)

    @made.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        made.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(params.text_document.uri, []))

    @made.feature(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=[" ", "'"]))
    def completed(params: lsp.CompletionParams) -> list[lsp.CompletionItem]:
        document = made.workspace.get_text_document(params.text_document.uri)
        at = _position(document, params.position)
        found = complete(document.source, at.line + 1, at.character + 1)
        return [_item(document, at.line, number, proposal) for number, proposal in enumerate(found)]

    @made.feature(lsp.TEXT_DOCUMENT_HOVER)
    def hovered(params: lsp.HoverParams) -> lsp.Hover | None:
        document = made.workspace.get_text_document(params.text_document.uri)
        at = _position(document, params.position)
        found = hover(document.source, at.line + 1, at.character + 1)
        if found is None:
            return None
        shown = lsp.MarkupContent(lsp.MarkupKind.Markdown, hover_text(found))
        return lsp.Hover(shown, _range(document, at.line, found.start - 1, found.end - 1))

    @made.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    def formatted(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit]:
        document = made.workspace.get_text_document(params.text_document.uri)
        try:
            text = commands.fmt(document.source)
        except (BindingErrors, WriteError):
            return []  # its mistakes are shown already
        whole = lsp.Range(lsp.Position(0, 0), lsp.Position(len(_lines(document)), 0))
        return [] if text == document.source else [lsp.TextEdit(whole, text)]

    return made


def _publish(made: LanguageServer, uri: str, *, examples: bool) -> None:
    document = made.workspace.get_text_document(uri)
    found = diagnostics(document, examples=examples)
    made.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, found, document.version))


def diagnostics(document: TextDocument, *, examples: bool) -> list[lsp.Diagnostic]:
    """Mistakes and lints of a text; if asked for, also examples that come to something else."""
    found = commands.check(document.source)
    shown = [
        lsp.Diagnostic(
            _of(document, one.line, one.column, one.length), one.message, severity=_LEVELS[one.level], source=SOURCE
        )
        for one in found
    ]
    if not examples or any(one.level != "warning" for one in found):
        return shown
    text, mechanisms = read_document(document.source), install()
    if text.examples and not hindrances(text.binding, mechanisms):
        shown += [
            lsp.Diagnostic(
                _of(document, bad.line, 1, 0),
                f"it came to: {bad.found}",
                severity=lsp.DiagnosticSeverity.Error,
                source=f"{SOURCE} example",
            )
            for outcome in run_examples(text, mechanisms)
            for bad in outcome.unmet
        ]
    return shown


def _item(document: TextDocument, line: int, number: int, proposal: Proposal) -> lsp.CompletionItem:
    edit = lsp.TextEdit(_range(document, line, proposal.start - 1, proposal.end - 1), proposal.snippet)
    return lsp.CompletionItem(
        label=proposal.label,
        kind=_KINDS[proposal.kind],
        detail=proposal.detail or None,
        documentation=proposal.meaning or None,
        # Editors sort by name otherwise; the catalogue's order is that of a good binding.
        sort_text=f"{number:04}",
        filter_text=proposal.text,
        insert_text_format=lsp.InsertTextFormat.Snippet,
        text_edit=edit,
    )


def _of(document: TextDocument, line: int, column: int, length: int) -> lsp.Range:
    """A place of a finding; line 0 is the text as a whole, shown at its beginning."""
    if not line:
        return _range(document, 0, 0, len(_line(document, 0)))
    start = column - 1
    return _range(document, line - 1, start, start + length if length else len(_line(document, line - 1)))


def _range(document: TextDocument, line: int, start: int, end: int) -> lsp.Range:
    """Columns of characters in the units that the editor counts in."""
    size = len(_line(document, line))
    start, end = min(start, size), min(max(end, start), size)
    found = lsp.Range(lsp.Position(line, start), lsp.Position(line, end))
    return document.position_codec.range_to_client_units(_lines(document), found)


def _position(document: TextDocument, position: lsp.Position) -> ServerTextPosition:
    return document.position_codec.position_from_client_units(_lines(document), position)


def _lines(document: TextDocument) -> list[str]:
    """The lines as the reader counts them; pygls would also end one at a form feed."""
    return document.source.split("\n")


def _line(document: TextDocument, line: int) -> str:
    lines = _lines(document)
    return lines[line].rstrip("\r") if line < len(lines) else ""
