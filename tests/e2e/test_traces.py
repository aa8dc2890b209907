"""One trace for one request, over all roles and through the log, as a receiver of OTLP sees it."""

import base64
import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from asking import enrol, search
from grpc_client import GrpcClient
from service import Service, cache, is_distributed

TENANT = "a-tenant-of-a-very-particular-name"
COLLECTION = "a-collection-of-a-very-particular-name"
PERSON = "a-person-of-a-very-particular-name"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT_SPAN = "b7ad6b7169203331"


@dataclass
class Span:
    """A span, as the receiver says it."""

    resource: dict[str, str]
    trace: str = ""
    parent: str = ""
    id: str = ""
    name: str = ""
    status: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)


def read(text: str) -> list[Span]:
    """The spans of a receiver's detailed log."""
    spans: list[Span] = []
    resource: dict[str, str] = {}
    attributes: dict[str, str] = {}
    fields = {"Trace ID": "trace", "Parent ID": "parent", "ID": "id", "Name": "name", "Status code": "status"}
    for line in text.splitlines():
        if line.startswith("ResourceSpans #"):
            resource = attributes = {}
        elif line.startswith("Span #"):
            spans.append(Span(resource))
            attributes = spans[-1].attributes
        elif named := re.fullmatch(r"    (\w[\w ]*?) *: (.*)", line):
            if named[1] in fields:
                setattr(spans[-1], fields[named[1]], named[2])
        elif linked := re.fullmatch(r"     -> Trace ID: (\w+)", line):
            spans[-1].links.append(linked[1])
        elif said := re.fullmatch(r"     -> ([\w.]+): (\w+)\((.*)\)", line):
            attributes[said[1]] = said[3]
    return spans


class Receiver:
    """Rotel, which takes spans and writes them into its log."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "rotel.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.folder = folder
        self.port = 0

    def start(self) -> "Receiver":
        """Starts it on free ports of this machine alone, and waits until it listens."""
        for _ in range(5):
            if self._try_start():
                return self
        raise AssertionError(self.log.read_text())

    def _try_start(self) -> bool:
        with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
            self.port, http_port = first.getsockname()[1], second.getsockname()[1]
        command = [str(cache() / "stack/rotel/rotel-agent"), "start", "--exporter", "blackhole"]
        command += ["--otlp-grpc-endpoint", f"127.0.0.1:{self.port}"]
        command += ["--otlp-http-endpoint", f"127.0.0.1:{http_port}"]
        command += ["--pid-file", str(self.folder / "rotel.pid")]
        command += ["--debug-log", "traces", "--debug-log-verbosity", "detailed"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return True
            except OSError:
                time.sleep(0.05)
        self.close()
        return False

    def spans(self) -> list[Span]:
        """All that has come; a span takes many lines, so it is waited for until no more come."""
        text = ""
        while (now := self.log.read_text()) != text:
            text = now
            time.sleep(0.05)
        return read(text)

    def wait_for(self, *names: str, trace: str | None = None) -> list[Span]:
        """The spans of one trace, or of all, once there is one of each of these names."""
        deadline = time.monotonic() + 30
        while True:
            spans = [span for span in self.spans() if trace in (None, span.trace)]
            missing = set(names) - {span.name for span in spans}
            if not missing:
                return spans
            assert time.monotonic() < deadline, (missing, sorted({span.name for span in spans}))
            time.sleep(0.1)

    def close(self) -> None:
        """Ends it by its id."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory):
    """A receiver for the module's service."""
    started = Receiver(tmp_path_factory.mktemp("receiver")).start()
    yield started
    started.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver):
    """A service that sends its traces."""
    started = Service(tmp_path_factory.mktemp("service"))
    started.environment = {"VIDIMUS__TRACES__ENDPOINT": f"http://127.0.0.1:{receiver.port}"}
    started.start()
    yield started
    started.close()


@pytest.fixture(scope="module")
def key(service: Service):
    return service.new_tenant(TENANT)


@pytest.fixture(scope="module")
def client(service: Service, key):
    """A client whose requests name a trace, as an instrumented one's do."""
    made = service.client(key)

    def name_trace(request, **_):
        request.headers["traceparent"] = f"00-{TRACE}-{CLIENT_SPAN}-01"

    made.meta.events.register("before-send.rekognition.*", name_trace)
    return made


def by_name(spans: list[Span]) -> dict[str, Span]:
    return {span.name: span for span in spans}


def ancestors(span: Span, spans: list[Span]) -> list[str]:
    """The names of what a span is part of, nearest first; the client's span at the end."""
    by_id = {span.id: span for span in spans}
    names = []
    while span.parent in by_id:
        span = by_id[span.parent]
        names.append(span.name)
    return [*names, span.parent]


def test_an_enrolment_is_one_trace_from_the_gateway_to_the_index(receiver, service, client, photos) -> None:
    client.create_collection(CollectionId=COLLECTION)
    [face] = enrol(client, COLLECTION, photos.obama, PERSON)
    way = ["IndexFaces", "enrol photo", "embed photo", "put photo", "put record", "append vidimus.changes"]
    way += ["consume vidimus.changes", "project records", "write to index"]
    calls = []
    if is_distributed():
        calls += ["call ingestion", "call embedding", "call indexing", "vidimus.internal.v1.Ingestion/IndexFaces"]
        calls += ["vidimus.internal.v1.Embedding/Embed", "vidimus.internal.v1.Indexing/Project"]
    spans = receiver.wait_for(*way, *calls, trace=TRACE)

    named = by_name(spans)
    assert named["IndexFaces"].parent == CLIENT_SPAN
    assert named["IndexFaces"].attributes["outcome"] == "ok"
    for span in spans:
        assert ancestors(span, spans)[-1] == CLIENT_SPAN, (span.name, ancestors(span, spans))
    above = ancestors(named["append vidimus.changes"], spans)
    assert above[0] == "enrol photo" and above[-2:] == ["IndexFaces", CLIENT_SPAN], above
    assert ancestors(named["consume vidimus.changes"], spans)[0] == "append vidimus.changes"
    projected = [ancestors(span, spans)[0] for span in spans if span.name == "project records"]
    assert "consume vidimus.changes" in projected, "the consumer of the log goes on with the trace"
    assert len(projected) == 2, "and so does the call that waits for it"
    assert all(span.resource["service.name"] == "vidimus" for span in spans)
    if is_distributed():
        roles = {span.name: span.resource["vidimus.roles"] for span in spans}
        assert roles["IndexFaces"] == "gateway" and roles["enrol photo"] == "ingestion"
        assert roles["embed photo"] == "embedding" and roles["consume vidimus.changes"] == "indexing"
        assert "vidimus.internal.v1.Ingestion/IndexFaces" in above, above


def test_a_search_shows_what_it_waits_for(receiver, client, photos) -> None:
    assert len(search(client, COLLECTION, photos.obama2)) == 1
    way = ["SearchFacesByImage", "search", "embed photo", "search index", "append vidimus.audit"]
    spans = receiver.wait_for(*way, trace=TRACE)
    found = next(span for span in spans if span.name == "search index")
    assert "SearchFacesByImage" in ancestors(found, spans)


def test_what_is_refused_says_so(receiver, client) -> None:
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.delete_faces(CollectionId="nowhere", FaceIds=["11111111-2222-3333-4444-000000000000"])
    [refused] = [span for span in receiver.wait_for("DeleteFaces") if span.name == "DeleteFaces"]
    assert refused.status == "STATUS_CODE_ERROR"
    assert refused.attributes["outcome"] == "ResourceNotFoundException"


def test_a_request_that_names_no_trace_has_one_of_its_own_and_the_log_names_it(receiver, service, key) -> None:
    assert service.client(key).list_collections()["CollectionIds"] == [COLLECTION]
    [listing] = [span for span in receiver.wait_for("ListCollections") if span.name == "ListCollections"]
    assert listing.trace != TRACE and set(listing.parent) <= {"0"}
    [line] = [line for line in service.log.read_text().splitlines() if "ListCollections" in line]
    assert f'"trace_id":"{listing.trace}"' in line


def test_each_photo_of_a_bulk_job_is_a_trace_from_its_acceptance_to_the_index(receiver, service, key, photos) -> None:
    photo = {"name": "new.jpg", "bytes": base64.b64encode(photos.biden).decode()}
    with grpc.insecure_channel(service.address) as channel:
        answers = GrpcClient(channel, key).bulk(
            [{"collection_id": COLLECTION, "job_id": "job"}, {"photo": photo}]
        )
    assert answers["new.jpg"]["outcome"] == "ENROLLED", answers
    way = ["accept photo", "append vidimus.photos", "consume vidimus.photos", "embed photo", "append vidimus.changes"]
    [part] = [span for span in receiver.wait_for("bulk photo") if span.name == "bulk photo"]
    spans = receiver.wait_for(*way, "consume vidimus.changes", "write to index", trace=part.trace)
    consumed = next(span for span in spans if span.name == "consume vidimus.changes")
    assert ancestors(consumed, spans)[:2] == ["append vidimus.changes", "consume vidimus.photos"]
    [asked] = [span for span in receiver.wait_for("BulkIndex") if span.name == "BulkIndex"]
    assert part.links == [asked.trace] and part.trace != asked.trace


def test_traces_name_nobody(receiver, key) -> None:
    """After all the others: everything that was sent."""
    text = receiver.log.read_text()
    assert len(read(text)) > 20
    for secret in [TENANT, COLLECTION, PERSON, key.access_key_id, key.secret_access_key]:
        assert secret not in text


def test_the_end_sends_what_was_not_sent(receiver, service, key) -> None:
    client = service.client(key)
    before = sum(span.name == "DescribeCollection" for span in receiver.spans())
    for _ in range(20):
        client.describe_collection(CollectionId=COLLECTION)
    assert service.stop() == 0
    deadline = time.monotonic() + 10
    while (after := sum(span.name == "DescribeCollection" for span in receiver.spans())) < before + 20:
        assert time.monotonic() < deadline, after - before
        time.sleep(0.1)
    assert after == before + 20


def test_a_receiver_that_is_away_holds_up_nothing(folder: Path, photos) -> None:
    lonely = Service(folder)
    lonely.environment = {"VIDIMUS__TRACES__ENDPOINT": "http://127.0.0.1:9"}
    lonely.start()
    try:
        client = lonely.client(lonely.new_tenant("first"))
        client.create_collection(CollectionId="staff")
        assert len(enrol(client, "staff", photos.obama)) == 1
        began = time.monotonic()
        assert lonely.stop() == 0
        assert time.monotonic() - began < 25
    finally:
        lonely.close()
