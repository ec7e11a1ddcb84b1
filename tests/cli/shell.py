"""Shell: the command line as a person uses it - words in, words and exit codes out.

`spawn` runs a real process; `meshnode` does the same inside this one, which is ten times
faster. The two are held equal by a test.
"""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from meshnode.cli.main import app
from meshnode.cli.output import guarded

ROOT = Path(__file__).resolve().parents[2]
# A node on two busy cores; a test that waits for longer has found something.
PATIENCE_S = 60.0


class Done(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its answer to --json."""
        return json.loads(self.out)


def environment(**changes: str) -> dict[str, str]:
    """No colours, no directory of somebody else's."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MESHNODE_D")}
    return kept | {"PYTHONPATH": str(ROOT), "HOME": "/nonexistent"} | changes


def meshnode(*words: object) -> Done:
    """Run a command to its end, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            command, arguments = app.find([str(word) for word in words], "meshnode")
            code = guarded(lambda: command(**arguments))
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def spawn(*words: object, stdin: bytes = b"", **variables: str) -> Done:
    """Run a command to its end, in a process of its own.

    Args:
        variables: of its environment.
    """
    done = subprocess.run(
        [sys.executable, "-m", "meshnode", *map(str, words)],
        input=stdin,
        capture_output=True,
        timeout=PATIENCE_S,
        env=environment(**variables),
        cwd=ROOT,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def complaint(*words: object, code: int = 2, run: Callable[..., Done] = meshnode) -> str:
    """What a command complains about, after checking that it does so decently."""
    done = run(*words)
    assert done.code == code, done
    assert done.out == "" and "Traceback" not in done.err
    assert done.err.startswith("error: ")
    return done.err.removeprefix("error: ").rstrip("\n")


def init(directory: Path, *more: object) -> dict[str, object]:
    """A node directory of Anna's."""
    done = meshnode("init", directory, "--community", "Via Verdi", "--name", "anna", "--json", *more)
    assert done.code == 0, done
    found: dict[str, object] = done.json
    return found


class Running:
    """A node that runs in a process of its own. `ready` is what it said when it was."""

    def __init__(self, directory: Path, log: Path, **variables: str) -> None:
        self._log = log
        self.process = subprocess.Popen(
            [sys.executable, "-m", "meshnode", "run", str(directory), "--json"],
            stdout=subprocess.PIPE,
            stderr=log.open("ab"),
            env=environment(**variables),
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the node ended at once:\n{log.read_text()}"
        self.ready: dict[str, Any] = json.loads(line)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Done:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=PATIENCE_S)
        return Done(self.process.returncode, out.decode(), self._log.read_text())


@contextmanager
def running(directory: Path, **variables: str) -> Iterator[Running]:
    """A node that runs as long as the block; killed at its end if it was not stopped.

    Args:
        variables: of its environment.
    """
    node = Running(directory, directory.with_suffix(".log"), **variables)
    try:
        yield node
    finally:
        if node.process.poll() is None:
            node.process.kill()
            node.process.wait()
        assert node.process.stdout is not None
        node.process.stdout.close()


@contextmanager
def alone(directory: Path, *more: object) -> Iterator[Callable[..., Done]]:
    """Anna's node, the only one of its microgrid, with no door on a fixed port; gives who runs a command there.

    What is given runs the words at that node and expects `code`, 0 unless it says otherwise.
    """
    nowhere = ("--listen", "/ip4/127.0.0.1/tcp/0", "--joining", "", "--web", "127.0.0.1:0")
    init(directory, "--preset", "neighbour-market", *nowhere, *more)
    with running(directory):

        def say(*words: object, code: int = 0) -> Done:
            done = meshnode(*words, "--dir", directory)
            assert done.code == code, done
            return done

        yield say
