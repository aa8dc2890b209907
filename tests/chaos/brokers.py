"""What Kafka's brokers say of their topics, asked in Kafka's own protocol: without the client that is tested.

https://kafka.apache.org/protocol
"""

import socket
import struct
import time
from dataclasses import dataclass

METADATA, FIND_COORDINATOR, DESCRIBE_CONFIGS = 3, 10, 32
# Of a resource and of a coordinator's key, in the protocol.
TOPIC, TRANSACTION = 2, 1
COORDINATOR_NOT_AVAILABLE = 15
CALL_SECONDS_MAX = 5


@dataclass(frozen=True)
class Partition:
    """One partition, as a broker knows it."""

    topic: str
    number: int
    leader: int
    replicas: frozenset[int]
    in_sync: frozenset[int]


class Reader:
    """Takes an answer apart, from its beginning."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.at = 0

    def number(self, form: str) -> int:
        """A number: `b`, `h` or `i`, of 8, 16 or 32 bits."""
        [value] = struct.unpack_from(f">{form}", self.answer, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self) -> str | None:
        """A text, or none."""
        length = self.number("h")
        if length < 0:
            return None
        self.at += length
        return self.answer[self.at - length : self.at].decode()

    def several(self, one) -> list:
        """As many as there are."""
        return [one() for _ in range(self.number("i"))]


def text(value: str) -> bytes:
    """A text as it is asked with."""
    return struct.pack(">h", len(value.encode())) + value.encode()


class Brokers:
    """Asks whichever broker answers."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports

    def ask(self, call: int, version: int, request: bytes) -> Reader:
        """One call, answered by the first broker that is there."""
        message = struct.pack(">hhi", call, version, 1) + text("chaos") + request
        failure: OSError | None = None
        for port in self.ports:
            try:
                with socket.create_connection(("127.0.0.1", port), CALL_SECONDS_MAX) as connection:
                    connection.sendall(struct.pack(">i", len(message)) + message)
                    with connection.makefile("rb") as answers:
                        [length] = struct.unpack(">i", answers.read(4))
                        answer = Reader(answers.read(length))
                        answer.number("i")
                        return answer
            except (OSError, struct.error) as error:
                failure = OSError(f"broker at {port}: {error}")
        raise failure or OSError("there is no broker")

    def partitions(self) -> list[Partition]:
        """Every partition of every topic, those that the brokers made for themselves too."""
        answer = self.ask(METADATA, 1, struct.pack(">i", -1))
        answer.several(lambda: (answer.number("i"), answer.text(), answer.number("i"), answer.text()))
        answer.number("i")

        def partition(topic: str) -> Partition:
            _, number, leader = answer.number("h"), answer.number("i"), answer.number("i")
            replicas, in_sync = (frozenset(answer.several(lambda: answer.number("i"))) for _ in range(2))
            return Partition(topic, number, leader, replicas, in_sync)

        def topic() -> list[Partition]:
            _, name, _ = answer.number("h"), answer.text(), answer.number("b")
            return answer.several(lambda: partition(name))

        return [partition for of_topic in answer.several(topic) for partition in of_topic]

    def setting(self, topic: str, name: str) -> str | None:
        """What a topic's setting is."""
        resource = struct.pack(">ib", 1, TOPIC) + text(topic) + struct.pack(">i", 1) + text(name)
        answer = self.ask(DESCRIBE_CONFIGS, 1, resource + b"\0")
        answer.number("i"), answer.number("i")
        error, said = answer.number("h"), answer.text()
        if error:
            raise OSError(f"{topic}: {said}")
        answer.number("b"), answer.text()
        count, found, value = answer.number("i"), answer.text(), answer.text()
        if (count, found) != (1, name):
            raise OSError(f"{topic} has no setting {name}")
        return value

    def make_transactions_topic(self, seconds_max: float = 30) -> None:
        """Has the brokers make their topic of transactions, as whoever uses the first one does."""
        deadline = time.monotonic() + seconds_max
        while True:
            answer = self.ask(FIND_COORDINATOR, 1, text("chaos") + struct.pack(">b", TRANSACTION))
            answer.number("i")
            error = answer.number("h")
            if error == 0:
                return
            if error != COORDINATOR_NOT_AVAILABLE or time.monotonic() > deadline:
                raise OSError(f"no coordinator of transactions: error {error}")
            time.sleep(0.1)
