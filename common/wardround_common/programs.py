"""What every program of Wardround does at its edge: offline environment, errors as sentences, Ctrl-C.

Not here: commands.

Privacy: of an unforeseen error only its type is shown, since foreign messages may quote a file; the
traceback appears where WARDROUND_DEBUG=1 asks for it.
"""

from __future__ import annotations

import os
import sys
import traceback

import click
import typer

from wardround_common.errors import WardroundError

OFFLINE = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Set before Flower is imported: nobody is called, nothing is installed at run time."""

INTERRUPTED = 130


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
    try:
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


def _fail(text: str, error: BaseException) -> None:
    if os.environ.get("WARDROUND_DEBUG") == "1":
        traceback.print_exception(error)
    print(text, file=sys.stderr)  # noqa: T201
