"""What the line sends for a request, whatever happens over it at the site."""

from __future__ import annotations

import socket
import ssl
import threading

import httpx
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.supercore.task_identity import TaskIdentity
from served import enrolled, new_coordinator

from wardround_client.app import make_client_app
from wardround_client.link import answer, connection, make_parcels
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


def test_the_line_follows_nobody_to_another_address(tmp_path):
    home = new_coordinator(tmp_path / "coordinator")
    keys = enrolled(home, tmp_path / "alder")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home.path / "server.pem")
    with (
        socket.create_server(("127.0.0.1", home.config.port)) as server,
        socket.create_server(("127.0.0.1", 0)) as elsewhere,
    ):
        place = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/"
        reply = f"HTTP/1.1 307 Temporary Redirect\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n"

        def redirect():
            peer, _ = server.accept()
            with context.wrap_socket(peer, server_side=True) as secured:
                secured.recv(1 << 16)
                secured.sendall(reply.encode())

        thread = threading.Thread(target=redirect)
        thread.start()
        heard = []
        client = connection(keys, heard=heard.append, parcels=make_parcels())
        with pytest.raises(httpx.HTTPStatusError):
            client.ActivateNode(ActivateNodeRequest())
        client.close()
        thread.join()
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
    assert [response.status_code for response in heard] == [307]
