"""SIGKILL a hundred times, at every stage of a record's way, while faces are enrolled, deleted and enrolled again."""

import io
import os
import random
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError
from kill_workload import Worker, check
from PIL import Image
from service import EmbeddedService, binary

pytestmark = pytest.mark.embedded

KILLS = int(os.environ.get("VIDIMUS_KILLS", "100"))
POWER_LOSSES = int(os.environ.get("VIDIMUS_POWER_LOSSES", "12"))
SEED = int(os.environ.get("VIDIMUS_KILL_SEED", "1"))
# A stage that the workload has not reached by then is struck from outside instead.
ROUND_SECONDS_MAX = 20
SIDE_PX = 240

STAGES = [
    "photo put",
    "record put",
    "append to vidimus.changes",
    "index write",
    "index flush",
    "commit",
    "append to vidimus.audit",
    "photo delete",
]
# Each of these must have been struck, before and after its effect.
MUST_BE_STRUCK = STAGES[:6]


class UnderTest(EmbeddedService):
    """A service that kills itself at a stage, and notes the stage that it is at."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.note = folder / "stage"
        self.flushed = folder / "flushed-index"

    def serve_command(self) -> list[str]:
        command = super().serve_command()
        return [str(binary().with_name("vidimus-under-test")), *command[1:]]

    def start_doomed(self, kill_at: str | None, snapshots: bool = False) -> None:
        """Starts it with its death in the environment."""
        wrappers = {"VIDIMUS_STAGE_FILE": str(self.note)}
        if kill_at:
            wrappers["VIDIMUS_KILL_AT"] = kill_at
        if snapshots:
            wrappers["VIDIMUS_FLUSHED_INDEX"] = str(self.flushed)
        os.environ.update(wrappers)
        try:
            self.start()
        except AssertionError:
            # It may die before it is ready; whether of its own hand is looked at later.
            if self.process is None or self.process.poll() != -signal.SIGKILL:
                raise
        finally:
            for name in wrappers:
                del os.environ[name]

    def await_death(self, seconds: float) -> str:
        """Waits until it has killed itself, else kills it; the stage that it was at."""
        assert self.process is not None
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.returncode == -signal.SIGKILL, f"it ended by itself:\n{self.log_end()}"
        self.process = None
        return self.note.read_text().strip()

    def cut_power(self) -> None:
        """Leaves of the index what its last flush has covered."""
        index = self.data / "index"
        shutil.rmtree(index, ignore_errors=True)
        if self.flushed.exists():
            shutil.copytree(self.flushed, index)


def small(photo: bytes) -> bytes:
    """The photo, shrunk: this test is about records, not about pixels."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    image.thumbnail((SIDE_PX, SIDE_PX))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


@pytest.fixture
def doomed(folder: Path):
    """A service to be killed, with a tenant's client maker and its workers."""
    service = UnderTest(folder)
    service.start()
    key = service.new_tenant("first")
    service.client(key).create_collection(CollectionId="staff")
    service.stop()
    yield service, lambda: service.client(key)
    service.close()


def workers_of(photos, seed: int) -> list[Worker]:
    """Three workers, each with its own person."""
    people = [photos.obama, photos.biden, photos.astronaut]
    return [Worker(number, small(photo), "staff", seed + number) for number, photo in enumerate(people)]


def check_unless_dead(service: UnderTest, new_client, workers: list[Worker]) -> None:
    """Checks what holds, unless the service dies of its wrappers before or meanwhile."""
    try:
        if service.process.poll() is None:
            check(new_client(), "staff", workers)
    except BotoCoreError:
        assert service.process.wait(ROUND_SECONDS_MAX) == -signal.SIGKILL


def one_round(service: UnderTest, new_client, workers: list[Worker], seconds: float) -> str:
    """Lets the workers work until the service is dead; the stage that it died at."""
    threads = [worker.run(new_client()) for worker in workers]
    stage = service.await_death(seconds)
    for thread in threads:
        thread.join()
    for worker in workers:
        if worker.failure:
            raise worker.failure
    return stage


def check_again(service: UnderTest, new_client, workers: list[Worker]) -> None:
    """At the end: back once more, everything that was not answered is asked for again, and all holds."""
    service.start()
    client = new_client()
    check(client, "staff", workers)
    for worker in workers:
        for slot in worker.slots:
            if slot.pending:
                worker.step(client, slot)
    check(client, "staff", workers)
    counted = client.describe_collection(CollectionId="staff")["FaceCount"]
    assert counted == sum(1 for worker in workers for slot in worker.slots if slot.live)
    assert service.stop() == 0


def test_nothing_acknowledged_is_lost_and_nothing_deleted_matches(doomed, photos) -> None:
    service, new_client = doomed
    chance = random.Random(SEED)
    workers = workers_of(photos, SEED)
    struck: Counter[str] = Counter()
    for kill in range(KILLS):
        stage, moment = STAGES[kill % len(STAGES)], ["before", "after"][kill // len(STAGES) % 2]
        # Every fifth comes from outside, at a random time; the others at their stage.
        outside = kill % 5 == 4
        count = chance.randint(1, 3 if stage in ("commit", "index flush") else 12)
        service.start_doomed(None if outside else f"{stage}|{moment}|{count}")
        check_unless_dead(service, new_client, workers)
        seconds = chance.uniform(0.05, 2.0) if outside else ROUND_SECONDS_MAX
        struck[one_round(service, new_client, workers, seconds)] += 1
    print(f"struck: {dict(sorted(struck.items()))}")
    check_again(service, new_client, workers)
    acknowledged = sum(worker.acknowledged for worker in workers)
    print(f"{KILLS} kills, {acknowledged} calls acknowledged")
    if KILLS >= 100:
        missed = [f"{s}|{m}" for s in MUST_BE_STRUCK for m in ("before", "after") if not struck[f"{s}|{m}"]]
        assert not missed, f"never struck: {missed}"


def test_a_power_loss_loses_nothing_either(doomed, photos) -> None:
    service, new_client = doomed
    chance = random.Random(SEED)
    workers = workers_of(photos, SEED)
    for _ in range(POWER_LOSSES):
        service.start_doomed(None, snapshots=True)
        check(new_client(), "staff", workers)
        one_round(service, new_client, workers, chance.uniform(0.3, 3.0))
        service.cut_power()
    check_again(service, new_client, workers)
    assert sum(worker.acknowledged for worker in workers) > POWER_LOSSES
