"""What several commands are told.

Privacy: paths, names and public keys.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from wardround_common.errors import ConfigError

Dir = Annotated[Path, typer.Argument(metavar="DIR", help="The coordinator's folder.")]
Study = Annotated[str, typer.Argument(metavar="STUDY", help="Its name, as in the plan.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]


def public_key(text: str) -> bytes:
    """A public key in hex, or in a file.

    Raises:
        ConfigError: ``coordinator.options``.
    """
    from wardround_common.files import read
    from wardround_common.identity import KEY_BYTES

    if Path(text).is_file():
        text = read(Path(text), limit_bytes=2 * KEY_BYTES + 1).decode("ascii", "replace")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            "--authority is neither 64 hex digits nor a file",
            remedy="Give the authority's key, or its file authority.pub.",
            code="coordinator.options",
        )
    return key


def command_line() -> str:
    """What was typed, for reports."""
    return shlex.join(["wardround-coordinator", *sys.argv[1:]])
