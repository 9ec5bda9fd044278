"""What the line sends for a request, whatever happens over it at the site."""

from __future__ import annotations

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from wardround_client.app import make_client_app
from wardround_client.link import answer
from wardround_common.errors import AuditError, ProtocolError
from wardround_common.messages import Packet

NODE = 2**64 - 7


def asked(handle):
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, NODE, NODE  # who is asked
    record = RecordDict({"packet": ConfigRecord({"envelope": b"request"})})
    return answer(make_client_app(handle), Message(record, NODE, "query.start"), node=NODE)


def raising(error):
    def handle(packet):
        raise error

    return handle


def test_a_reply_goes_as_it_is():
    reply = asked(lambda packet: Packet(b"to " + packet.envelope))
    assert reply.content["packet"]["envelope"] == b"to request"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ProtocolError("no", remedy="None.", code="secagg.order"), "secagg.order"),
        (RuntimeError("alder has 3 patients"), "site.crashed"),
    ],
)
def test_of_an_error_nothing_goes_but_its_code(error, code):
    reply = asked(raising(error))
    assert reply.error.reason == code


def test_what_cannot_be_written_down_is_not_answered_at_all():
    assert asked(raising(AuditError("disk full", remedy="Make room.", code="audit.unusable"))) is None
