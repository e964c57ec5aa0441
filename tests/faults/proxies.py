"""The proxies to the nodes of a cluster as one: what is done to it is done to each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from convostore.testing.faults import Flow, Proxy


class Proxies:
    """What a `Proxy` is, to several servers. A flow that counts, counts what passes to all of them."""

    def __init__(self, each: Sequence[Proxy]) -> None:
        self.each = each

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        return {task for proxy in self.each for task in proxy.tasks}

    @property
    def to_server(self) -> Flow:
        return self.each[0].to_server

    @to_server.setter
    def to_server(self, flow: Flow) -> None:
        for proxy in self.each:
            proxy.to_server = flow

    @property
    def to_client(self) -> Flow:
        return self.each[0].to_client

    @to_client.setter
    def to_client(self, flow: Flow) -> None:
        for proxy in self.each:
            proxy.to_client = flow

    @property
    def target(self) -> list[Any]:
        return [proxy.target for proxy in self.each]

    def lead_to(self, target: list[Any] | None) -> None:
        for proxy, its in zip(self.each, target or [None] * len(self.each), strict=True):
            proxy.lead_to(its)

    def reset(self) -> None:
        for proxy in self.each:
            proxy.reset()

    def heal(self) -> None:
        for proxy in self.each:
            proxy.heal()

    async def refuse(self) -> None:
        for proxy in self.each:
            await proxy.refuse()

    async def listen(self) -> None:
        for proxy in self.each:
            await proxy.listen()
