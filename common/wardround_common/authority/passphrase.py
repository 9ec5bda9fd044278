"""Where a passphrase comes from: a file that only its owner may read, or a person at a terminal.

Not here: what it opens (``keyfile``).

Privacy: a passphrase is never shown, and enters no message.
"""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from wardround_common.errors import ConfigError
from wardround_common.files import check_private, read

PASSPHRASE_LIMIT_BYTES = 1024


def ask_new(file: Path | None) -> str:
    """A passphrase for a new key; typed twice where no file is given.

    Raises:
        ConfigError: ``authority.no_terminal``; ``authority.passphrase_file``.
    """
    return _read(file) if file else _ask("New passphrase", "--passphrase-file or --no-passphrase", twice=True)


def ask_old(file: Path | None) -> str:
    """The passphrase of a key.

    Raises:
        ConfigError: ``authority.no_terminal``; ``authority.passphrase_file``.
    """
    return (
        _read(file) if file else _ask("Passphrase of the authority's key", "--passphrase-file", twice=False)
    )


def _ask(question: str, options: str, *, twice: bool) -> str:
    if not sys.stdin.isatty():
        raise ConfigError(
            "a passphrase is needed, and there is no terminal to ask at",
            remedy=f"Give {options}, or run this at a terminal.",
            code="authority.no_terminal",
        )
    return str(typer.prompt(question, hide_input=True, confirmation_prompt=twice, err=True))


def _read(file: Path) -> str:
    data = read(file, limit_bytes=PASSPHRASE_LIMIT_BYTES)
    if file.is_file():
        check_private(file)
    try:
        passphrase = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        passphrase = ""
    if not passphrase:
        raise ConfigError(
            f"{file} holds no passphrase",
            remedy="Put the passphrase into it as one line of UTF-8 text.",
            code="authority.passphrase_file",
        )
    return passphrase
