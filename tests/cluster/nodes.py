"""Valkey nodes of the tests' own: three primaries with a replica each, or a primary and a replica under sentinels."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from convostore.embedded.binaries import valkey_server

SLOTS = 16_384
NODE_TIMEOUT = 1_000
"""The cluster-node-timeout, in milliseconds."""

_SET_PARENT_DEATH_SIGNAL = 1


@dataclass
class Node:
    """A server process on this machine."""

    directory: Path
    options: tuple[str, ...]
    port: int
    program: Path = field(default_factory=valkey_server)
    libraries: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start the process, which dies with this one."""
        libc = ctypes.CDLL(None)
        self.directory.mkdir(exist_ok=True)
        arguments = [os.fspath(self.program), *self.options, "--port", str(self.port), "--bind", "127.0.0.1"]
        self.process = subprocess.Popen(
            [*arguments, "--dir", os.fspath(self.directory), "--save", "", "--protected-mode", "no"],
            env=os.environ | {"LD_LIBRARY_PATH": self.libraries} if self.libraries else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL),
        )

    def kill(self) -> None:
        """Kill the process and wait for its end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def client(self) -> Redis:
        """A new client of this node alone."""
        return Redis(host="127.0.0.1", port=self.port, decode_responses=True, protocol=2)

    async def ask(self, *words: object) -> Any:
        """Send a command and return the answer."""
        async with self.client as client:
            asked: Any = client
            return await asked.execute_command(*words)

    async def info(self, section: str) -> dict[str, Any]:
        """Return a section of INFO."""
        async with self.client as client:
            found: dict[str, Any] = await client.info(section)
            return found

    async def digest(self, key: str) -> bytes | None:
        """Return a key's value as DUMP serialises it."""
        async with Redis(port=self.port, protocol=2) as client:
            return await client.dump(key)

    async def answers(self) -> bool:
        """Return whether it answers."""
        return bool(await self.ask("PING"))


@dataclass
class Cluster:
    """Six nodes, of which the first three began as primaries."""

    nodes: list[Node]

    @property
    def url(self) -> str:
        """The URL that names them all."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    async def primaries(self) -> list[Node]:
        """Return the living nodes that hold slots now."""
        return [node for node in self.nodes if node.process and "master" in await self._role(node)]

    async def replica_of(self, primary: Node) -> Node:
        """Return the replica of a primary."""
        for node in self.nodes:
            if node.process and (await node.info("replication")).get("master_port") == primary.port:
                return node
        raise LookupError(f"{primary} has no replica")

    async def is_healthy(self) -> bool:
        """Return whether every living node sees three primaries that serve all slots, each with a replica in step."""
        living = [node for node in self.nodes if node.process]
        for node in living:
            state = await node.ask("CLUSTER", "INFO")
            if "cluster_state:ok" not in state or "cluster_size:3" not in state:
                return False
        roles = [await node.info("replication") for node in living]
        in_step = [role for role in roles if role["role"] == "slave" and role["master_link_status"] == "up"]
        return len(in_step) == len(living) - 3

    async def _role(self, node: Node) -> list[str]:
        return [str(word) for word in await node.ask("ROLE")]


async def eventually(condition: Callable[[], Coroutine[Any, Any, object]], what: str, timeout: float = 30.0) -> None:
    """Poll a condition on real state until it holds; an error counts as false."""
    try:
        async with asyncio.timeout(timeout):
            while True:
                try:
                    if await condition():
                        return
                except (OSError, RedisError):
                    pass
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not in {timeout:g} s: {what}") from None


def free_ports(number: int) -> list[int]:
    """Return free ports, whose cluster bus ports (10,000 above) are free as well."""
    found: list[int] = []
    while len(found) < number:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            if port + 10_000 < 65_536 and port not in found:
                try:
                    second.bind(("127.0.0.1", port + 10_000))
                except OSError:
                    continue
                found.append(port)
    return found


@asynccontextmanager
async def running_cluster(directory: Path) -> AsyncIterator[Cluster]:
    """Start six nodes and make them a cluster."""
    options = (
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        str(NODE_TIMEOUT),
        "--repl-diskless-sync-delay",
        "0",
    )
    nodes = [Node(directory / str(port), options, port) for port in free_ports(6)]
    try:
        for node in nodes:
            node.start()
        for node in nodes:
            await eventually(node.answers, f"{node} answers")
        for number, node in enumerate(nodes):
            await node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < 3:
                bounds = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
                await node.ask("CLUSTER", "ADDSLOTSRANGE", *bounds)
            if number:
                await nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port)
        ids = [await node.ask("CLUSTER", "MYID") for node in nodes]
        for number in range(3, 6):
            replica, primary_id = nodes[number], ids[number - 3]

            async def knows(replica: Node = replica, primary_id: str = primary_id) -> bool:
                return primary_id in str(await replica.ask("CLUSTER", "NODES"))

            await eventually(knows, "the replica knows its primary")
            await replica.ask("CLUSTER", "REPLICATE", primary_id)
        cluster = Cluster(nodes)
        await eventually(cluster.is_healthy, "the cluster is healthy")
        yield cluster
    finally:
        for node in nodes:
            node.kill()


@asynccontextmanager
async def running_service(directory: Path) -> AsyncIterator[tuple[str, list[Node]]]:
    """Start a primary, its replica and three sentinels; yield the URL and the two servers."""
    first, second, *watching = free_ports(5)
    primary = Node(directory / "primary", (), first)
    replica = Node(
        directory / "replica", ("--replicaof", "127.0.0.1", str(first), "--repl-diskless-sync-delay", "0"), second
    )
    sentinels = []
    for port in watching:
        place = directory / f"sentinel-{port}"
        place.mkdir()
        settings = place / "sentinel.conf"
        settings.write_text(
            f"sentinel myid {port:040x}\n"
            f"sentinel monitor convostore 127.0.0.1 {first} 2\n"
            "sentinel down-after-milliseconds convostore 500\n"
            "sentinel failover-timeout convostore 3000\n"
            f"sentinel known-replica convostore 127.0.0.1 {second}\n"
            + "".join(
                f"sentinel known-sentinel convostore 127.0.0.1 {other} {other:040x}\n"
                for other in watching
                if other != port
            )
        )
        sentinels.append(Node(place, (os.fspath(settings), "--sentinel"), port))
    try:
        primary.start()
        await eventually(primary.answers, "the primary answers")
        for node in (replica, *sentinels):
            node.start()

        async def watched() -> bool:
            replies = [await node.ask("SENTINEL", "MASTER", "convostore") for node in sentinels]
            facts = [dict(zip(reply[::2], reply[1::2], strict=True)) for reply in replies]
            in_step = (await replica.info("replication"))["master_link_status"] == "up"
            return in_step and all((fact["num-slaves"], fact["num-other-sentinels"]) == ("1", "2") for fact in facts)

        await eventually(watched, "the replica is in step, and the sentinels know it and each other")
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in sentinels)
        yield f"redis+sentinel://{hosts}/convostore", [primary, replica]
    finally:
        for node in (primary, replica, *sentinels):
            node.kill()
