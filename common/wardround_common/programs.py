"""What every program of Wardround does at its edge: offline environment, errors as sentences, Ctrl-C.

Rules:

* Wheels that were installed over each other are refused: one may have replaced files of the other.

Not here: commands.

Privacy: of an unforeseen error only its type is shown, since foreign messages may quote a file; the
traceback appears where WARDROUND_DEBUG=1 asks for it.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import threading
import traceback
from concurrent.futures import InvalidStateError

import click
import typer

from wardround_common.errors import ConfigError, WardroundError

OFFLINE = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Set before Flower is imported: nobody is called, nothing is installed at run time."""

INTERRUPTED = 130
DISTRIBUTIONS = ("wardround", "wardround-coordinator", "wardround-simulation", "wardround-site")
"""A checkout and the three wheels. They share files, so an environment holds one of them."""


def stay_offline() -> None:
    """Switch off telemetry, update checks and run-time installation, here and in child processes."""
    os.environ.update(OFFLINE)


def run_program(app: typer.Typer, *, stopped: str = "what was spent stays in the ledgers") -> None:
    """Run a command line program and end the process with its exit status.

    Args:
        app: Parses the command line and acts; ``WardroundError`` becomes its message and remedy.
        stopped: What Ctrl-C leaves behind, in words.
    """
    stay_offline()
    threading.excepthook = _tell_thread
    try:
        _check_alone()
        status = app(standalone_mode=False)
        if status == INTERRUPTED:  # typer's own answer to Ctrl-C
            raise KeyboardInterrupt
        sys.exit(status)
    except WardroundError as error:
        _fail(f"error: {error.message}\n  {error.remedy}", error)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        print(f"\nstopped; {stopped}", file=sys.stderr)  # noqa: T201
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the edge of the process: no traceback for a user
        _fail(
            f"error: unforeseen {type(error).__name__}\n"
            "  Run again with WARDROUND_DEBUG=1 and report the traceback.",
            error,
        )
        sys.exit(70)


def _tell_thread(args: threading.ExceptHookArgs) -> None:
    """As Python tells of an error in a thread, but for one that a pool's own thread makes of Ctrl-C.

    In CPython 3.11 a pool whose workers end while futures are cancelled sets an exception on one of those.
    """
    if not issubclass(args.exc_type, InvalidStateError):
        threading.__excepthook__(args)


def _check_alone() -> None:
    installed = [name for name in DISTRIBUTIONS if _is_installed(name)]
    if len(installed) > 1:
        raise ConfigError(
            f"{', '.join(installed)} are installed in one environment, and share files",
            remedy="Uninstall all of them, then install one: wardround-simulation has everything.",
            code="programs.two_wheels",
        )


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _fail(text: str, error: BaseException) -> None:
    if os.environ.get("WARDROUND_DEBUG") == "1":
        traceback.print_exception(error)
    print(text, file=sys.stderr)  # noqa: T201
