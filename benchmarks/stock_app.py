"""The app of stock Flower that ``stock_flower`` sends to its SuperNodes; it stands alone there."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

NUMBERS = 420_000
client = ClientApp()
server = ServerApp()


@client.query()
def reply(message: Message, context: Context) -> Message:
    """Random numbers, as a masked update looks."""
    numbers = np.random.default_rng().integers(0, 2**32, NUMBERS, dtype=np.uint32)
    return Message(RecordDict({"numbers": ArrayRecord([numbers])}), reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Exchange after exchange; a line for each says how many seconds it took."""
    config = context.run_config
    while len(nodes := list(grid.get_node_ids())) < config["sites"]:
        time.sleep(0.5)
    for number in range(config["exchanges"]):
        began = time.perf_counter()
        asked = RecordDict({"ask": ConfigRecord({"number": number})})
        messages = [Message(asked, dst_node_id=node, message_type="query") for node in nodes]
        replies = list(grid.send_and_receive(messages))
        sizes = [sum(one.numpy().size for one in each.content["numbers"].values()) for each in replies]
        assert sizes == [NUMBERS] * len(nodes), sizes
        with Path(config["times"]).open("a") as times:
            print(time.perf_counter() - began, file=times)
