"""Runs a command under the filters that systemd makes of a unit's lines: ``filtered.py UNIT COMMAND...``.

The same calls, families of sockets and rules about memory, through the same library. It stands in for a
systemd that runs, which a test has not; users, folders and devices are not part of it.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
EQUAL, MASKED = 4, 7
SHM_EXEC = 0o100000
UNKNOWN_CALL = -1


class Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


class Filter:
    """One filter of libseccomp."""

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action: int, call: str, *comparisons: Comparison) -> None:
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number == UNKNOWN_CALL:  # of another architecture
            return
        array = (Comparison * max(len(comparisons), 1))(*comparisons)
        added = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(comparisons), array
        )
        if added not in (0, -errno.EACCES, -errno.EDOM):  # is the default anyway; not on this architecture
            raise OSError(-added, call)

    def load(self) -> None:
        if self._library.seccomp_load(self._context):
            raise OSError("the filter cannot be loaded")


def settings(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def calls(names: Sequence[str]) -> Iterator[str]:
    """System calls by their names and the names of groups."""
    for name in names:
        if name.startswith("@"):
            command = ["systemd-analyze", "--no-pager", "syscall-filter", name]
            listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            members = [line.strip() for line in listed.splitlines()[1:]]
            yield from calls([one for one in members if one and not one.startswith("#")])
        else:
            yield name


def allowed_calls(lines: Sequence[str]) -> set[str]:
    """What ``SystemCallFilter=`` lines leave."""
    found = set(calls(["@default"]))
    for line in lines:
        listed = set(calls(line.removeprefix("~").split()))
        found = found - listed if line.startswith("~") else found | listed
    return found


def restrict(unit: Path) -> None:
    """Put this process, and all that it starts, under the unit's filters."""
    said = settings(unit)
    permitted = allowed_calls(said["SystemCallFilter"])
    families = {getattr(socket, name).value for name in said["RestrictAddressFamilies"][-1].split()}
    denied = Filter(ALLOW)
    for family in set(range(46)) - families:
        denied.add(ERRNO | errno.EAFNOSUPPORT, "socket", Comparison(0, EQUAL, family, 0))
    if said["MemoryDenyWriteExecute"] == ["yes"]:
        both = mmap.PROT_WRITE | mmap.PROT_EXEC
        denied.add(ERRNO | errno.EPERM, "mmap", Comparison(2, MASKED, both, both))
        for call in ("mprotect", "pkey_mprotect"):
            denied.add(ERRNO | errno.EPERM, call, Comparison(2, MASKED, mmap.PROT_EXEC, mmap.PROT_EXEC))
        denied.add(ERRNO | errno.EPERM, "shmat", Comparison(2, MASKED, SHM_EXEC, SHM_EXEC))
    others = Filter(ERRNO | errno.EPERM)
    for call in sorted(permitted):
        others.add(ALLOW, call)
    denied.load()
    others.load()


if __name__ == "__main__":
    restrict(Path(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
