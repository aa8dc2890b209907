"""Callers of one tenant who give way to nothing: each asks again at once, whatever it was told.

They run in a process of their own, so that they take nothing but the machine's time from the clients whose answers are checked.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import grpc
from google.protobuf import message_factory
from grpc_client import SERVICE, GrpcClient
from service import Key

CALLERS = 64
# Every third of them enrols, the others search.
ENROL_EACH = 3
# A photo may have more bytes than a decoder needs; these are what queues would fill with.
PHOTO_BYTES = 2 * 1024 * 1024
CALL_SECONDS_MAX = 60
END_SECONDS_MAX = CALL_SECONDS_MAX + 15
CHANNEL = [("grpc.max_reconnect_backoff_ms", 500), ("grpc.initial_reconnect_backoff_ms", 100)]
# What a refusal that may go well later says besides (`google.rpc.RetryInfo`), and where.
HINT, DETAILS = b"google.rpc.RetryInfo", "grpc-status-details-bin"
# Codes of refusals that may go well later.
RETRYABLE = {"RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"}


@dataclass
class Told:
    """What the callers were told."""

    answered: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    # Refusals that did not say when to try again, or that no client should get here.
    unclear: Counter[str] = field(default_factory=Counter)
    longest_seconds: float = 0.0


class Flood:
    """The callers' process."""

    def __init__(self, address: str, key: Key, photo: bytes, collection: str) -> None:
        said = {"address": address, "key": vars(key), "photo": photo.hex(), "collection": collection}
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, env=environment)
        self.process.stdin.write(json.dumps(said).encode() + b"\n")
        self.process.stdin.flush()

    def stop(self) -> None:
        """Has every caller end after its call."""
        self.process.stdin.close()
        self.process.stdin = None

    def end(self) -> Told:
        """Waits until they have; what they were told."""
        said, _ = self.process.communicate(timeout=END_SECONDS_MAX)
        assert self.process.returncode == 0
        told = json.loads(said)
        counters = {name: Counter(told[name]) for name in ("answered", "refused", "unclear")}
        return Told(**counters, longest_seconds=told["longest_seconds"])

    def close(self) -> None:
        """Ends it, however a test left it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Callers:
    """The callers, in that process."""

    def __init__(self, said: dict) -> None:
        photo = bytes.fromhex(said["photo"])
        self.photo = photo + bytes(PHOTO_BYTES - len(photo))
        self.collection = said["collection"]
        self.channel = grpc.insecure_channel(said["address"], options=CHANNEL)
        self.client = GrpcClient(self.channel, Key(**said["key"]))
        self.told = Told()
        self.lock = threading.Lock()
        self.ending = threading.Event()

    def run(self) -> None:
        """Calls until the input ends."""
        callers = [threading.Thread(target=self.call_on, args=[number]) for number in range(CALLERS)]
        for caller in callers:
            caller.start()
        sys.stdin.read()
        self.ending.set()
        for caller in callers:
            caller.join()

    def call_on(self, number: int) -> None:
        """One caller."""
        method = "IndexFaces" if number % ENROL_EACH == 0 else "SearchFacesByImage"
        request = message_factory.GetMessageClass(self.client.service.FindMethodByName(method).input_type)()
        request.collection_id = self.collection
        request.image.bytes = self.photo
        ask = self.channel.unary_unary(f"/{SERVICE}/{method}")
        while not self.ending.is_set():
            if method == "IndexFaces":
                request.external_image_id = f"flood-{uuid.uuid4()}"
            began = time.monotonic()
            try:
                ask(request.SerializeToString(), timeout=CALL_SECONDS_MAX, metadata=self.client.metadata)
                failure = None
            except grpc.RpcError as error:
                failure = error
            self.note(method, failure, time.monotonic() - began)

    def note(self, method: str, failure: grpc.RpcError | None, seconds: float) -> None:
        """Notes how a call ended."""
        with self.lock:
            self.told.longest_seconds = max(seconds, self.told.longest_seconds)
            if failure is None:
                self.told.answered[method] += 1
                return
            self.told.refused[method] += 1
            code = failure.code().name
            details = dict(failure.trailing_metadata() or []).get(DETAILS, b"")
            if code not in RETRYABLE or HINT not in details:
                self.told.unclear[f"{method}: {code}: {failure.details()}"] += 1


def main() -> None:
    callers = Callers(json.loads(sys.stdin.readline()))
    with contextlib.closing(callers.channel):
        callers.run()
    print(json.dumps(vars(callers.told)))


if __name__ == "__main__":
    main()
