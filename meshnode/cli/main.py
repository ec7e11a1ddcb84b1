"""Main: the command `meshnode` and the groups of its commands."""

from __future__ import annotations

import typer

from meshnode.cli import bindings, demonstration, ledgers, meters, microgrids, running, trading

app = typer.Typer(
    name="meshnode",
    help="A community's electricity market and ledger on the small computers that it has.",
    epilog="Exit codes: 0 fine, 1 the answer is no, 2 something to mend (the message says what), 130 stopped.",
    no_args_is_help=True,
    # Plain text: loading the library for decorated help costs more than all of the rest.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

running.add_to(app)
microgrids.add_to(app)
trading.add_to(app)
bindings.add_to(app)
meters.add_to(app)
ledgers.add_to(app)
demonstration.add_to(app)


def main() -> None:
    """Run the command line and exit with its code."""
    app()


if __name__ == "__main__":
    main()
