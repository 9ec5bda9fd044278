"""Exchanges of stock Flower, measured as ``rounds`` measures ours.

One ``flower-superlink`` with a database file and three ``flower-supernode``, over TLS on loopback, each site
authenticated with a key of its own; SuperExec starts ServerApp and ClientApps (``subprocess``, the default).
In an exchange the stock ``grid.send_and_receive`` sends every site a few bytes, and gets 420,000 random
uint32 from each. The first one does not count: it brings the app to the sites.

CPU is the sum over the tree of processes of what each used itself and what its ended children used
(``children_user``, ``children_system``). SuperExec collects an ended child when it starts the next; until
then the child is a zombie, whose times can still be read. So nothing is lost, and nothing sampled. Memory is
each process's own (USS), sampled; a figure is the largest sum that one party had.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections import Counter

import psutil

from benchmarks.results import Result, publish
from benchmarks.stock_flower import Stock, federation, tree

EXCHANGES = 3
IDLE_S = 10.0


def measure() -> list[Result]:
    """Exchanges with three sites, then none."""
    with federation(1 + EXCHANGES) as stock:
        stock.wait("the first exchange", lambda: len(stock.seconds()) > 0)
        before, peaks = stock.cpu_s(), {}
        for number in range(EXCHANGES):
            stock.wait("an exchange", lambda number=number: _watch(stock, peaks) > 1 + number)
        cpu_s = stock.cpu_s() - before
        stock.wait("the end of all apps", lambda: not _app_runs(stock))
        idle_s = [-stock.cpu_s(site) for site in stock.roots[1:]]
        time.sleep(IDLE_S)
        idle_s = [stock.cpu_s(site) + then for site, then in zip(stock.roots[1:], idle_s, strict=True)]
        note = f"420 k uint32 from each site, TLS, node keys; load {os.getloadavg()[0]:.1f}"
        return [
            Result("stock.n3_exchange_s", statistics.median(stock.seconds()[1:]), "s", note),
            Result("stock.n3_cpu_ms_per_exchange", 1e3 * cpu_s / EXCHANGES, "ms", "all processes"),
            Result("stock.idle_site_cpu_percent", 100 * statistics.mean(idle_s) / IDLE_S, "%"),
            Result("stock.superlink_mb", peaks["superlink"], "MB", "with its SuperExec; own memory"),
            Result("stock.serverapp_mb", peaks["serverapp"], "MB", "own memory"),
            Result("stock.site_mb", peaks["site"], "MB", "SuperNode, SuperExec, ClientApp; own memory"),
        ]


def _watch(stock: Stock, peaks: dict[str, float]) -> int:
    """Raise ``peaks`` to the memory in use now; returns how many exchanges are done."""
    for number, root in enumerate(stock.roots):
        now = Counter()
        for one in tree(root):
            with contextlib.suppress(psutil.NoSuchProcess):
                who = "serverapp" if one.name() == "flwr-serverapp" else "site" if number else "superlink"
                now[who] += one.memory_full_info().uss / 1e6
        peaks |= {who: max(mb, peaks.get(who, 0.0)) for who, mb in now.items()}
    return len(stock.seconds())


def _app_runs(stock: Stock) -> bool:
    for one in [one for root in stock.roots for one in tree(root)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            if one.name().endswith("app") and one.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


if __name__ == "__main__":
    publish("stock", measure())
