"""Processes of each role, killed one after the other while clients go on."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from asking import enrol, face_ids, search
from service import is_distributed, models

pytestmark = pytest.mark.distributed

if is_distributed():
    from distributed import DistributedService
    from processes import Processes

WAIT_SECONDS_MAX = 60
SEARCHERS = 4
# With a call to a process that is gone, and another one to the process that is left, on a busy machine.
SEARCH_SECONDS_MAX = 10


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory):
    """A service with two processes of the roles that share work."""
    started = DistributedService(tmp_path_factory.mktemp("pairs"))
    started.processes = Processes(started.folder / "pairs", {"embedding": 2, "indexing": 2, "query": 2, "ledger": 2})
    started.start()
    yield started
    started.close()


def kill(member) -> None:
    """Kills a process."""
    member.popen.send_signal(signal.SIGKILL)
    assert member.popen.wait(30) == -signal.SIGKILL


def start_again(service, member) -> None:
    """Starts a process that was killed, and waits until it is ready."""
    service.processes.start_one(member, service.shared_settings(), models())
    service.processes.wait_for(member, time.monotonic() + WAIT_SECONDS_MAX)


@pytest.mark.parametrize("role", ["embedding", "query", "indexing", "ledger"])
def test_the_others_of_a_role_go_on_when_one_is_killed(service, client, collection, photos, role) -> None:
    [obama] = enrol(client, collection, photos.obama, "obama")
    victim = service.processes.of(role)[0]
    kill(victim)
    [biden] = enrol(client, collection, photos.biden, "biden")
    for _ in range(4):
        assert search(client, collection, photos.obama2) == [obama]
        assert search(client, collection, photos.biden) == [biden]
    assert client.delete_faces(CollectionId=collection, FaceIds=[biden])["DeletedFaces"] == [biden]
    assert search(client, collection, photos.biden) == []
    start_again(service, victim)
    assert sorted(face_ids(client, collection)) == [obama]


def test_no_search_fails_when_embedding_dies_under_it(service, key, client, collection, photos) -> None:
    [obama] = enrol(client, collection, photos.obama, "obama")
    ending = threading.Event()
    longest: list[float] = []

    def go_on_searching() -> int:
        """Searches with a client of its own that tries once; how often it was answered."""
        own = service.client(key)
        answered = 0
        while not ending.is_set():
            began = time.monotonic()
            assert search(own, collection, photos.obama2) == [obama]
            longest.append(time.monotonic() - began)
            answered += 1
        return answered

    with ThreadPoolExecutor(SEARCHERS) as pool:
        searching = [pool.submit(go_on_searching) for _ in range(SEARCHERS)]
        try:
            for victim in service.processes.of("embedding"):
                await_more(longest, searching)
                kill(victim)
                await_more(longest, searching)
                start_again(service, victim)
        finally:
            ending.set()
    answered = [each.result() for each in searching]
    print(f"{sum(answered)} searches while each embedding process was killed once, at most {max(longest):.1f} s each")
    assert min(answered) > 0 and max(longest) < SEARCH_SECONDS_MAX


def await_more(answered: list[float], searching: list) -> None:
    """Waits until some more searches are answered, or one fails."""
    wanted, deadline = len(answered) + 5 * SEARCHERS, time.monotonic() + WAIT_SECONDS_MAX
    while len(answered) < wanted and not any(each.done() for each in searching):
        assert time.monotonic() < deadline, f"{len(answered)} of {wanted}"
        time.sleep(0.02)


@pytest.mark.parametrize("role", ["ingestion", "gateway"])
def test_a_role_that_there_is_once_is_back_when_it_is_started_again(service, key, collection, photos, role) -> None:
    [member] = service.processes.of(role)
    kill(member)
    start_again(service, member)
    client = service.client(key, retries=5)
    [face] = enrol(client, collection, photos.obama, "obama")
    assert search(client, collection, photos.obama2) == [face]


def test_whoever_reconciles_is_found(service, client, collection, photos) -> None:
    enrol(client, collection, photos.obama, "obama")
    found = service.admin("reconcile", "--full")
    assert found["compared_records"] >= 1 and found["differences"] == 0


def test_every_process_is_alive_ready_and_measured(service) -> None:
    for member in service.processes.members:
        assert service.page_at(member.said["operators"], "/livez")[0] == 200, member.name
        assert service.page_at(member.said["operators"], "/readyz")[0] == 200, member.name
        assert "vidimus_" in service.page_at(member.said["operators"], "/metrics")[1], member.name
