from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

from wardround_simulations.grid import FIRST_NODE, LocalGrid, answer
from wardround_simulations.workers import InlineWorkers


def echo(spec):
    app = ClientApp()
    app.query("echo")(lambda message, context: Message(message.content, reply_to=message))
    return lambda data: answer(app, int(spec), data)


def test_a_grid_sends_and_receives_as_flower_does_and_reports_what_is_lost():
    nodes = [FIRST_NODE, FIRST_NODE + 1]

    def lose_the_second(leg, node, message_type, data):
        return None if node == nodes[1] else data

    grid = LocalGrid(InlineWorkers(echo, [b"2", b"3"]), wire=lose_the_second)
    content = RecordDict({"packet": ConfigRecord({"envelope": b"x"})})
    messages = [grid.create_message(content, "query.echo", node, "") for node in grid.get_node_ids()]
    answered, lost = sorted(grid.send_and_receive(messages, timeout=10), key=lambda reply: reply.has_error())
    assert answered.content.config_records["packet"]["envelope"] == b"x"
    assert answered.metadata.src_node_id == nodes[0]
    assert lost.has_error()
