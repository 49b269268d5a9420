"""A Valkey Cluster on this machine: three primaries with a replica each, which a test may kill and hold back."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from app.embedded.binaries import VALKEY, find_binary
from app.embedded.child import before_exec
from app.wire import keys
from app.wire.slots import SLOTS, slot_of
from tests.ports import free_ports
from tests.waiting import wait_until

PRIMARIES = 3
NODE_TIMEOUT_MILLISECONDS = 1_500
"""After this the others take a server for dead; the election of its replica takes up to as long again."""
READY_SECONDS = 40.0
FAILOVER_SECONDS = 20.0
END_SECONDS = 10.0
ANSWER_SECONDS = 2.0
ON = "127.0.0.1"
HELD_BACK = "held back"
"""A password that no primary takes: its replica stays where it is, and takes over from there."""


class Node:
    """One server of the cluster."""

    def __init__(self, directory: Path, port: int, bus_port: int) -> None:
        self.directory, self.port, self.bus_port = directory, port, bus_port
        self.url = f"redis://{ON}:{port}"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True)

    def start(self) -> None:
        """Start it, on what it had; `answers` says when it is there."""
        settings = {
            "port": str(self.port),
            "bind": ON,
            "dir": str(self.directory),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "cluster-enabled": "yes",
            "cluster-port": str(self.bus_port),
            "cluster-node-timeout": str(NODE_TIMEOUT_MILLISECONDS),
            "cluster-replica-validity-factor": "0",  # a replica takes over however far behind it is
            "cluster-require-full-coverage": "no",  # a primary that is gone takes nobody else with it
            "cluster-allow-replica-migration": "no",
            "repl-diskless-sync-delay": "0",
        }
        command = [str(find_binary(VALKEY).path)]
        command += [part for name, value in settings.items() for part in (f"--{name}", value)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=before_exec(signal.SIGTERM),  # noqa: PLW1509 - one thread: see before_exec
            )

    def ask(self, *command: Any) -> Any:
        """One command, over a connection of its own. Raises RedisError."""
        with self.client() as client:
            return client.execute_command(*command)

    def client(self) -> Redis:
        """A connection that gives up soon, and does not try again."""
        return Redis(host=ON, port=self.port, protocol=2, socket_timeout=ANSWER_SECONDS, retry=Retry(NoBackoff(), 0))

    def answers(self) -> bool:
        """Whether it takes commands."""
        with suppress(RedisError):
            return bool(self.ask("PING"))
        return False

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def end(self, how: signal.Signals) -> None:
        """A signal that ends it, and its end. Nothing where it has ended."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, how)
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                os.kill(self.pid, signal.SIGKILL)
                self._process.wait(END_SECONDS)

    def role(self) -> str:
        """`master` or `slave`; nothing where it does not answer."""
        with suppress(RedisError):
            return str(self.ask("ROLE")[0].decode())
        return ""


class Cluster:
    """All servers: node n + PRIMARIES began as the replica of node n."""

    def __init__(self, directory: Path) -> None:
        ports = free_ports(4 * PRIMARIES)
        pairs = zip(ports[::2], ports[1::2], strict=True)
        self.nodes = [Node(directory / f"node-{number}", *pair) for number, pair in enumerate(pairs)]

    @property
    def url(self) -> str:
        """The address: of two servers, one of which is enough."""
        return f"redis+cluster://{ON}:{self.nodes[0].port},{ON}:{self.nodes[1].port}"

    def start(self) -> None:
        """Start all, and make one cluster of them."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            wait_until(node.answers, READY_SECONDS, f"{node.url} to answer")
        first = self.nodes[0]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if node is not first:
                node.ask("CLUSTER", "MEET", ON, first.port, first.bus_port)
        for number, node in enumerate(self.nodes[:PRIMARIES]):
            node.ask("CLUSTER", "ADDSLOTSRANGE", SLOTS * number // PRIMARIES, SLOTS * (number + 1) // PRIMARIES - 1)
        wait_until(self._all_know_all, READY_SECONDS, "all servers to know each other")
        for primary, replica in zip(self.nodes[:PRIMARIES], self.nodes[PRIMARIES:], strict=True):
            replica.ask("CLUSTER", "REPLICATE", primary.ask("CLUSTER", "MYID").decode())
        self.wait_whole()

    def _all_know_all(self) -> bool:
        return all(int(_info(node, "cluster_known_nodes")) == len(self.nodes) for node in self.nodes)

    def wait_whole(self) -> None:
        """Wait until every server knows who serves which slots, and each primary has a replica."""
        wait_until(self._is_whole, READY_SECONDS, "the cluster to be whole")

    def _is_whole(self) -> bool:
        with suppress(RedisError, KeyError):
            if any(_info(node, "cluster_state") != "ok" for node in self.nodes):
                return False
            replicas = [node for node in self.nodes if node.role() == "slave"]
            views = {_owners(node) for node in self.nodes}
            linked = all(_replication(node)["master_link_status"] == "up" for node in replicas)
            return len(replicas) == len(self.nodes) - PRIMARIES and len(views) == 1 and linked
        return False

    def primary_of(self, partition: int) -> Node:
        """The server that has a partition, as one says that is there."""
        return self._owner_of(slot_of(keys.tag(partition)), next(node for node in self.nodes if node.role()))

    def primary_of_agreement(self) -> Node:
        """The server that has what all processes share."""
        return self._owner_of(slot_of(keys.AGREEMENT), next(node for node in self.nodes if node.role()))

    def _owner_of(self, slot: int, asked: Node) -> Node:
        port = next(port for first, last, port in _owners(asked) if first <= slot <= last)
        return next(node for node in self.nodes if node.port == port)

    def move(self, partition: int) -> Node:
        """Give the slot of a partition to another primary, with all that is in it; that primary."""
        slot, before = slot_of(keys.tag(partition)), self.primary_of(partition)
        after = next(node for node in self.nodes if node.role() == "master" and node is not before)
        name = after.ask("CLUSTER", "MYID").decode()
        before.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", name)

        def has_moved() -> bool:
            return all(self._owner_of(slot, node) is after for node in self.nodes)

        wait_until(has_moved, READY_SECONDS, f"slot {slot} to have moved")
        return after

    def replica_of(self, primary: Node) -> Node:
        """A server that replicates it."""
        return next(
            node
            for node in self.nodes
            if node.role() == "slave" and int(_replication(node)["master_port"]) == primary.port
        )

    def wait_copied(self, primary: Node) -> None:
        """Wait until the replica of a primary has everything that the primary has."""
        replica = self.replica_of(primary)

        def has_everything() -> bool:
            here, there = _replication(primary), _replication(replica)
            return here["master_repl_offset"] == there["master_repl_offset"]

        wait_until(has_everything, READY_SECONDS, "the replica to have everything")

    def hold_back(self, primary: Node) -> Node:
        """From here on the replica of a primary learns nothing more; which that is."""
        replica = self.replica_of(primary)
        replica.ask("CONFIG", "SET", "primaryauth", HELD_BACK)
        primary.ask("CLIENT", "KILL", "TYPE", "replica")

        def is_cut_off() -> bool:
            return _replication(replica)["master_link_status"] == "down"

        wait_until(is_cut_off, READY_SECONDS, "the replica to be cut off")
        return replica

    def kill(self, primary: Node, replica: Node) -> None:
        """Kill -9 of a primary, until its replica has taken over."""
        primary.end(signal.SIGKILL)
        self.wait_promoted(replica, primary)

    def stop(self, primary: Node, replica: Node) -> None:
        """SIGSTOP for a primary, until its replica has taken over; it holds its connections and says nothing."""
        os.kill(primary.pid, signal.SIGSTOP)
        self.wait_promoted(replica, primary)

    def wait_promoted(self, replica: Node, lost: Node) -> None:
        """Wait until a replica is the primary in place of a lost one, as all others know."""
        others = [node for node in self.nodes if node is not lost]

        def is_known() -> bool:
            ports = [{port for _, _, port in _owners(node)} for node in others]
            return all(replica.port in known and lost.port not in known for known in ports)

        wait_until(is_known, FAILOVER_SECONDS, "the replica to take over")

    def heal(self) -> None:
        """Everything that was killed or held back is a part of the cluster again."""
        for node in self.nodes:
            if not node.answers():
                node.end(signal.SIGKILL)
                node.start()
        for node in self.nodes:
            wait_until(node.answers, READY_SECONDS, f"{node.url} to answer")
            node.ask("CONFIG", "SET", "primaryauth", "")
        self.wait_whole()

    def empty(self) -> None:
        """Forget all keys."""
        for node in self.nodes:
            if node.role() == "master":
                node.ask("FLUSHALL")

    def end(self) -> None:
        """Nothing of it is left running."""
        for node in self.nodes:
            node.end(signal.SIGKILL)


def _owners(node: Node) -> tuple[tuple[int, int, int], ...]:
    """(first slot, last slot, port of the primary), as a server says."""
    return tuple(sorted((first, last, primary[1]) for first, last, primary, *_ in node.ask("CLUSTER", "SLOTS")))


def _info(node: Node, name: str) -> str:
    lines = node.ask("CLUSTER", "INFO")
    text = lines.decode() if isinstance(lines, bytes) else lines
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)[name]


def _replication(node: Node) -> dict[str, str]:
    with node.client() as client:
        return {name: str(value) for name, value in client.info("replication").items()}


@contextmanager
def running_cluster(directory: Path) -> Iterator[Cluster]:
    """A whole cluster, ended with all that was started."""
    cluster = Cluster(directory)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
