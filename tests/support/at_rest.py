"""Looks through all bytes of a folder for pieces of what should not lie there in clear."""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

PIECE_BYTES = 16
MOST_PIECES = 64
FEWEST_VALUES = 6
"""Different bytes in a piece; zeros and repeated words lie in every database."""

Pieces = Mapping[str, tuple[bytes, ...]]


def pieces(secrets: Mapping[str, bytes]) -> Pieces:
    """Up to 64 telling pieces of each, spread over its whole length, and the first of them in hex."""
    found = {}
    for name, data in secrets.items():
        cut = [data[at : at + PIECE_BYTES] for at in range(0, len(data) - PIECE_BYTES + 1, 4)]
        telling = [piece for piece in cut if len(set(piece)) >= FEWEST_VALUES]
        assert telling, f"{name} has no telling piece"
        spread = telling[:: -(-len(telling) // MOST_PIECES)]
        found[name] = (*spread, spread[0].hex().encode())
    return found


def found_in(folder: Path, words: Pieces) -> Iterator[tuple[str, str]]:
    """For each file the names of what lies in it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            for name, parts in words.items():
                if any(part in content for part in parts):
                    yield str(path.relative_to(folder)), name


def open_to_others(folder: Path) -> list[Path]:
    """The files and folders that others than the owner may use, ``folder`` included."""
    return [
        path
        for path in (folder, *folder.rglob("*"))
        if stat.S_IMODE(path.stat().st_mode) & ~0o700 or (path.is_file() and path.stat().st_mode & 0o100)
    ]
