"""Two addresses of the index are named, and one of them goes away and comes back while clients go on."""

import contextlib
import socket
import threading
import time

import pytest
from asking import enrol, face_ids, search
from botocore.exceptions import ClientError
from service import is_distributed, models

pytestmark = pytest.mark.distributed

if is_distributed():
    import distributed
    from components import free_ports
    from processes import Processes

# A connection that broke may have cost a server its last writes: searches wait until what is behind the commits is written again.
RECOVERY_SECONDS_MAX = 45
# So long without a refusal means that every process has noticed what it had to.
CALM_SECONDS = 6
PIECE_BYTES = 65536


class Passage:
    """An address that passes connections on to another one, until it is closed with all of them."""

    def __init__(self, port: int, onward: tuple[str, int]) -> None:
        self.port, self.onward = port, onward
        self.listener: socket.socket | None = None
        self.sockets: list[socket.socket] = []
        self.passed = 0

    def open(self) -> None:
        """Lets connections through."""
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=[self.listener], daemon=True).start()

    def close(self) -> None:
        """Cuts every connection, and refuses more."""
        opened, self.sockets = [self.listener, *self.sockets], []
        for each in opened:
            # Else whoever accepts or reads there goes on.
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = listener.accept()
                called = socket.create_connection(self.onward)
                self.sockets += [caller, called]
                for way in [(caller, called), (called, caller)]:
                    threading.Thread(target=self._pass, args=way, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                self.passed += len(piece)
                sink.sendall(piece)


@pytest.fixture(scope="module")
def passage():
    """The second address of the index."""
    server = distributed.backing().qdrant
    if server.has_tls:
        pytest.skip("a certificate does not name this passage")
    made = Passage(free_ports(1), (server.host, server.port))
    made.open()
    yield made
    with contextlib.suppress(OSError):
        made.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, passage: Passage):
    """A service that is told both addresses."""
    started = distributed.DistributedService(tmp_path_factory.mktemp("addresses"))
    started.processes = Processes(started.folder / "processes", {"indexing": 2, "query": 2})
    started.settings["VIDIMUS__INDEX"] += f",127.0.0.1:{passage.port}"
    started.start()
    yield started
    started.close()


def is_refused(ask) -> bool:
    """Whether it is refused; the only refusal is one that says to try again."""
    try:
        ask()
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ThrottlingException", error
        return True
    return False


def until_allowed(ask, calm_seconds: float = 0) -> float:
    """Asks until nothing has been refused for so long. Returns how many seconds the last refusal came after the first call."""
    began = refused = time.monotonic()
    while True:
        if is_refused(ask):
            refused = time.monotonic()
            assert refused - began < RECOVERY_SECONDS_MAX, "refusals end"
        elif time.monotonic() - refused >= calm_seconds:
            return refused - began
        time.sleep(0.1)


def goes_on(client, collection: str, photos) -> None:
    """A face is enrolled, found, deleted, and not found any more, with no call refused."""
    [face] = enrol(client, collection, photos.biden, "biden")
    for _ in range(6):
        assert search(client, collection, photos.biden) == [face]
    assert client.delete_faces(CollectionId=collection, FaceIds=[face])["DeletedFaces"] == [face]
    for _ in range(6):
        assert search(client, collection, photos.biden) == []


def start(service, members: list) -> None:
    """Starts processes that were killed, and waits until they are ready."""
    for member in members:
        service.processes.start_one(member, service.shared_settings(), models())
    deadline = time.monotonic() + RECOVERY_SECONDS_MAX
    for member in members:
        service.processes.wait_for(member, deadline)


def test_the_service_goes_on_with_the_address_that_is_left(service, client, collection, photos, passage) -> None:
    [obama] = enrol(client, collection, photos.obama, "obama")
    goes_on(client, collection, photos)
    assert passage.passed > 0, "both addresses are used"

    def asked() -> None:
        assert search(client, collection, photos.obama2) == [obama]

    passage.close()
    print(f"one address of two went away: searches were refused for {until_allowed(asked):.1f} s")
    goes_on(client, collection, photos)

    # Whoever searches may start with one address, and who projects may die: the other one knows that all is there.
    queries, [dies, _] = service.processes.of("query"), service.processes.of("indexing")
    for member in [*queries, dies]:
        member.popen.kill()
        member.popen.wait()
    start(service, queries)
    print(f"started again with one address of two: searches were refused for {until_allowed(asked):.1f} s")
    goes_on(client, collection, photos)

    before = passage.passed
    passage.open()
    deadline = time.monotonic() + RECOVERY_SECONDS_MAX
    while passage.passed == before:
        assert time.monotonic() < deadline, "the address that is back is used again"
        is_refused(asked)
    # It waits for what the other one commits, and commits stand still while an address is away.
    start(service, [dies])
    # Whoever is connected to it again does not believe the index until what it may have lost is told again.
    print(f"both addresses again: searches were refused for {until_allowed(asked, CALM_SECONDS):.1f} s")
    goes_on(client, collection, photos)
    assert face_ids(client, collection) == [obama]
