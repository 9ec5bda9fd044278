"""Writes down every name that a process looks up, and every address that it connects to.

Python runs this file at the start of each process whose PYTHONPATH has its folder; LOOKUPS names the list.
"""

import json
import os
import sys

_FIRST = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_SECOND = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


def _told(event, arguments):
    if event in _FIRST:
        _write(event, arguments[0])
    elif event in _SECOND:
        place = arguments[1]
        _write(event, place[0] if isinstance(place, tuple) else "")


def _write(event, place):
    place = place.decode() if isinstance(place, bytes) else place
    program = next((word.rpartition("/")[2] for word in sys.orig_argv if "/wardround-" in word), "python")
    line = json.dumps([program, event, place], default=str) + "\n"
    handle = os.open(os.environ["LOOKUPS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(handle, line.encode())
    os.close(handle)


if "LOOKUPS" in os.environ:
    sys.addaudithook(_told)
    _write("start", "")
