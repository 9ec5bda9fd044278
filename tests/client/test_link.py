"""What the line sends for a request, whatever happens over it at the site."""

from __future__ import annotations

import socket
import ssl
import threading
from hashlib import sha256

import httpx
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.proto.fleet_pb2 import ActivateNodeRequest, ActivateNodeResponse, PullMessagesResponse
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.message_pb2 import Metadata, ObjectTree
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict
from flwr.supercore.task_identity import TaskIdentity
from served import enrolled, new_coordinator

from wardround_client import link
from wardround_client.app import make_client_app
from wardround_client.link import Link, answer, connection, make_parcels
from wardround_common.errors import AuditError, ProtocolError
from wardround_common.messages import Packet
from wardround_common.parcels import MEDIA_TYPE, Parcel, pack

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


def pulled(content=None, *, name=""):
    """A parcel with one message, whose bytes may be anything; None: without its tree."""
    identifier = sha256(content or b"").hexdigest()
    fields = {"run_id": 1, "src_node_id": 1, "dst_node_id": NODE, "message_type": "query.start"}
    metadata = Metadata(message_id=name or identifier, ttl=10, created_at=1e9, **fields)
    head = ProtoMessage(metadata=metadata, content=ProtoRecordDict())
    trees = [] if content is None else [ObjectTree(object_id=identifier)]
    flower = PullMessagesResponse(messages_list=[head], message_object_trees=trees)
    return pack(Parcel(flower.SerializeToString(), {identifier: content or b""}, (identifier,)))


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        pulled(),
        pulled(b"Message  2\x00\xff\xff"),
        pulled(b"Message  0\x00"),
        pulled(b"Nonsense  0\x00"),
        pulled(b"Message"),
        pulled(b"Message  0\x00", name="b" * 64),
    ],
    ids=["no parcel", "no tree", "no protobuf", "no content", "no known type", "no head", "another"],
)
def test_whatever_a_coordinator_answers_the_line_goes_on(tmp_path, monkeypatch, body):
    def coordinator(request):
        if request.url.path.endswith("/activate-node"):
            return httpx.Response(200, content=ActivateNodeResponse(node_id=NODE).SerializeToString())
        return httpx.Response(200, content=body, headers={"content-type": MEDIA_TYPE})

    def connected(*given, **options):
        client = connection(*given, **options)
        client._client = httpx.Client(transport=httpx.MockTransport(coordinator))
        return client

    monkeypatch.setattr(link, "connection", connected)
    monkeypatch.setattr(link, "FIRST_PAUSE_S", 0.01)
    stop, told = threading.Event(), []

    def tell(state, code, seconds):
        told.append(state)
        if told.count("offline") == 2:
            stop.set()

    keys = enrolled(new_coordinator(tmp_path / "coordinator"), tmp_path / "alder")
    app = make_client_app(lambda packet: packet)
    Link(keys, app, told=tell, look=lambda: None).run(stop)
    assert told[-1] == "stopped"
