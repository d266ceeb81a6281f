"""Messages on their way to one client, and their end."""

import asyncio

import pytest

from aed_nerfstudio.live import outbox as module
from aed_nerfstudio.live.outbox import Outbox


async def nothing_more(outbox: Outbox, turns: int = 20) -> bool:
    """Whether the sending has ended within some turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
    return outbox._task.done()


@pytest.mark.parametrize("turns", range(5))
def test_it_ends_also_in_the_moment_a_message_is_sent(turns):
    """Before Python 3.12, `wait_for` lost that end, and the server waited for ever for its last task."""

    async def scenario() -> None:
        sent, closed = asyncio.get_running_loop().create_future(), []
        outbox = Outbox(lambda message: sent, lambda: closed.append(True))
        outbox.put("hello")
        assert not await nothing_more(outbox)
        sent.set_result(None)
        for _ in range(turns):
            await asyncio.sleep(0)
        outbox.end()
        assert await nothing_more(outbox) and not closed

    asyncio.run(scenario())


def test_a_client_that_takes_nothing_or_has_gone_is_let_go(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.05)

    async def scenario() -> None:
        closed = []
        slow = Outbox(lambda message: asyncio.get_running_loop().create_future(), lambda: closed.append("slow"))
        slow.put("hello")
        await asyncio.sleep(0.2)
        assert await nothing_more(slow) and closed == ["slow"]

        async def gone() -> None:
            raise ConnectionError

        gone_one = Outbox(lambda message: gone(), lambda: closed.append("gone"))
        gone_one.put("hello")
        assert await nothing_more(gone_one) and closed == ["slow", "gone"]

    asyncio.run(scenario())
