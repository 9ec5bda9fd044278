"""A request for messages waits until there is one, and no longer than it must."""

import asyncio

import pytest

from wardround_server.holding import MOST_HELD, Bell, Holding

PULL, PUSH = "/api/pull-messages", "/api/push-messages"


class Queue:
    """Flower's store, as far as it matters here."""

    def __init__(self):
        self.waiting, self.bodies, self.status = [], [], 200

    async def __call__(self, scope, receive, send):
        self.bodies.append((await receive())["body"])
        answer = b""
        if scope["path"] == PUSH:
            self.waiting.append(b"message")
        elif self.waiting:
            answer = self.waiting.pop()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": answer})


async def ask(app, path, *, pieces=(b"node",)):
    pieces, sent = list(pieces), []

    async def receive():
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message):
        sent.append(message)

    await app({"type": "http", "path": path}, receive, send)
    return sent[-1]["body"]


def sides(queue, *, hold_s=5.0):
    to_sites, to_job = Bell(), Bell()
    fields = {"pull": PULL, "push": "/api/push-", "hold_s": hold_s}
    return (
        Holding(queue, heard=to_sites, told=to_job, **fields),
        Holding(queue, heard=to_job, told=to_sites, **fields),
    )


def run(story):
    return asyncio.run(asyncio.wait_for(story, 4.0))


def test_a_request_is_answered_as_soon_as_the_other_side_has_sent_something():
    async def story():
        queue = Queue()
        site, job = sides(queue)
        asked = asyncio.create_task(ask(site, PULL))
        await asyncio.sleep(0.05)
        assert not asked.done()
        await ask(job, PUSH)
        assert await asked == b"message"
        assert queue.bodies.count(b"node") == 3  # asked twice, and the push

    run(story())


def test_a_message_that_is_there_is_given_at_once():
    async def story():
        site, job = sides(Queue())
        await ask(job, PUSH)
        assert await ask(site, PULL) == b"message"

    run(story())


def test_a_request_is_not_woken_by_its_own_side():
    async def story():
        site, _ = sides(Queue(), hold_s=0.3)
        asked = asyncio.create_task(ask(site, PULL))
        await asyncio.sleep(0.05)
        await ask(site, PUSH)
        await asyncio.sleep(0.05)
        assert not asked.done()
        assert await asked == b""

    run(story())


def test_a_request_ends_with_nothing_when_nothing_comes():
    async def story():
        queue = Queue()
        site, _ = sides(queue, hold_s=0.1)
        assert await ask(site, PULL) == b""
        assert len(queue.bodies) == 1

    run(story())


def test_a_message_that_comes_while_flower_is_asked_is_not_missed():
    async def story():
        site, job = sides(Queue())

        class Slow(Queue):
            async def __call__(self, scope, receive, send):
                if scope["path"] == PULL and not self.bodies:
                    await super().__call__(scope, receive, send)
                    await ask(job, PUSH)
                else:
                    await super().__call__(scope, receive, send)

        slow = Slow()
        site._app = job._app = slow
        assert await ask(site, PULL) == b"message"

    run(story())


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_refusal_is_not_held(status):
    async def story():
        queue = Queue()
        queue.status = status
        site, _ = sides(queue)
        assert await ask(site, PULL) == b""

    run(story())


def test_flower_gets_the_whole_body():
    async def story():
        queue = Queue()
        site, _ = sides(queue, hold_s=0.0)
        await ask(site, PULL, pieces=(b"no", b"de", b"!"))
        assert queue.bodies == [b"node!"]

    run(story())


def test_who_asks_too_often_at_a_time_is_not_held():
    async def story():
        queue = Queue()
        site, _ = sides(queue)
        held = [asyncio.create_task(ask(site, PULL)) for _ in range(MOST_HELD)]
        await asyncio.sleep(0.05)
        assert await ask(site, PULL) == b""
        assert not any(task.done() for task in held)
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        again = asyncio.create_task(ask(site, PULL))
        await asyncio.sleep(0.05)
        assert not again.done()
        again.cancel()

    run(story())
