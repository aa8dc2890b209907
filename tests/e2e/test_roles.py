"""Embedding in processes of its own beside a service on a directory: shared out, killed, started again, over mutual TLS."""

import datetime
import ipaddress
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import grpc
import guard
import pytest
import urllib3
from asking import enrol, search
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from service import START_SECONDS_MAX, EmbeddedService, binary, models

pytestmark = pytest.mark.embedded

EMBEDDING = "vidimus.internal.v1.Embedding"


class EmbeddingProcess:
    """A process with the embedding role alone."""

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.settings = settings or {}
        self.address = "127.0.0.1:0"
        self.process: subprocess.Popen[bytes] | None = None
        self.said: dict = {}
        folder.mkdir(parents=True)

    def start(self) -> "EmbeddingProcess":
        """Starts it, at the address that it had where it had one, and waits until it is ready."""
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        command = [str(binary()), "serve", "--roles", "embedding", "--models", str(models())]
        command += ["--listen-roles", self.address, "--operators", "127.0.0.1:0", "--ready-file", str(ready)]
        with (self.folder / "log").open("ab") as log:
            environment = {"PATH": "", guard.MARK: os.environ[guard.MARK], **self.settings}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + START_SECONDS_MAX
        while not ready.exists():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)
        self.said = json.loads(ready.read_text())
        assert self.said["tenants"] is None
        self.address = self.said["roles"]
        return self

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Ends it by its id; its exit status."""
        self.process.send_signal(with_signal)
        return self.process.wait(30)

    def close(self) -> None:
        """Ends it, however a test left it."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def page(self, path: str) -> tuple[int, str]:
        """A page of its operators' port."""
        answer = urllib3.request("GET", f"http://{self.said['operators']}{path}", retries=False, timeout=10.0)
        return answer.status, answer.data.decode()

    def embedded(self) -> int:
        """Photos that it has embedded."""
        line = next(
            (line for line in self.page("/metrics")[1].splitlines() if 'photos_embedded_total{outcome="OK"}' in line), "0"
        )
        return int(line.split()[-1])


def addresses(pool: list[EmbeddingProcess], scheme: str = "http") -> str:
    """The pool as configuration names it."""
    return f"{scheme}://{','.join(process.address for process in pool)}"


@pytest.fixture
def pool(folder: Path):
    """Two embedding processes."""
    processes = [EmbeddingProcess(folder / name) for name in ("first", "second")]
    try:
        for process in processes:
            process.start()
        yield processes
    finally:
        for process in processes:
            process.close()


@pytest.fixture
def rest(folder: Path, pool):
    """A service on a directory whose embedding is elsewhere."""
    service = EmbeddedService(folder / "rest")
    service.folder.mkdir()
    service.environment = {"VIDIMUS__EMBEDDING": addresses(pool)}
    service.start()
    yield service
    service.close()


def healthy(address: str, service: str) -> bool | None:
    """What `grpc.health.v1.Health` says of a service; none where it does not know it."""
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            answer = check(b"\x0a" + bytes([len(service)]) + service.encode(), timeout=10)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return None
            raise
    return answer == b"\x08\x01"


def test_a_pool_is_shared_out_and_no_search_fails_when_one_of_it_dies(rest, pool, photos) -> None:
    client = rest.client(rest.new_tenant("first"))
    client.create_collection(CollectionId="staff")
    [face] = enrol(client, "staff", photos.obama, "obama")
    for _ in range(9):
        assert search(client, "staff", photos.obama2) == [face]
    assert all(process.embedded() >= 2 for process in pool), [process.embedded() for process in pool]

    assert pool[0].stop(signal.SIGKILL) == -signal.SIGKILL
    for _ in range(6):
        assert search(client, "staff", photos.obama2) == [face]
    pool[0].start()
    assert pool[1].stop() == 0
    for _ in range(6):
        assert search(client, "staff", photos.obama2) == [face]
    assert pool[0].embedded() >= 6


def test_where_nobody_embeds_the_refusal_is_clear_and_it_recovers_by_itself(rest, pool, photos) -> None:
    client = rest.client(rest.new_tenant("first"))
    client.create_collection(CollectionId="staff")
    [face] = enrol(client, "staff", photos.obama, "obama")
    for process in pool:
        process.stop(signal.SIGKILL)
    with pytest.raises(client.exceptions.ThrottlingException) as refused:
        client.search_faces_by_image(CollectionId="staff", Image={"Bytes": photos.obama})
    answer = refused.value.response["ResponseMetadata"]
    assert answer["HTTPStatusCode"] == 500 and int(answer["HTTPHeaders"]["retry-after"]) > 0
    assert client.search_faces(CollectionId="staff", FaceId=face)["FaceMatches"] == [], "what needs no photo goes on"
    pool[1].start()
    assert search(rest.client(rest.new_key("first"), retries=5), "staff", photos.obama2) == [face]


def test_what_embedding_says_of_a_photo_reaches_the_client(rest, photos) -> None:
    client = rest.client(rest.new_tenant("first"))
    client.create_collection(CollectionId="staff")
    with pytest.raises(client.exceptions.InvalidImageFormatException) as refused:
        client.index_faces(CollectionId="staff", Image={"Bytes": b"no photo"})
    assert "JPEG or PNG" in refused.value.response["Error"]["Message"]


def test_a_process_says_how_it_is(pool) -> None:
    [process, _] = pool
    assert process.page("/readyz")[0] == 200
    assert healthy(process.address, EMBEDDING) is True
    assert healthy(process.address, "vidimus.internal.v1.Query") is None
    posted = urllib3.request(
        "POST", f"http://{process.said['operators']}/admin/v1", body=b'{"command":"list_tenants"}', retries=False
    )
    assert posted.status == 421


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--roles", "gateway"], "peers.ingestion"),
        (["--roles", "gateway,ingestion,indexing,query,ledger"], "calls embedding"),
        (["--roles", "indexing"], "one process's alone"),
        (["--roles", "door"], "door"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_anything_is_made(folder: Path, flags, said) -> None:
    command = [str(binary()), "serve", "--data", str(folder / "data"), "--models", str(models()), *flags]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode != 0 and said in ran.stderr, ran.stderr
    assert not (folder / "data").exists()


class Authority:
    """Signs certificates of 127.0.0.1."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key, is_authority=True)
        self._write("authority.pem", self.certificate.public_bytes(serialization.Encoding.PEM))

    def _write(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def _sign(self, name: x509.Name, key, is_authority: bool):
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if not is_authority:
            alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(alternative, critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def settings(self) -> dict[str, str]:
        """A new certificate of this authority, as a process's configuration names it."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vidimus")])
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        signed = self._sign(name, key, is_authority=False).public_bytes(pem)
        return {
            "VIDIMUS__TRANSPORT__TLS__CERTIFICATE": self._write("certificate.pem", signed),
            "VIDIMUS__TRANSPORT__TLS__KEY": self._write("key.pem", private),
            "VIDIMUS__TRANSPORT__TLS__AUTHORITY": str(self.folder / "authority.pem"),
        }


def test_both_sides_show_certificates(folder: Path, photos) -> None:
    ours = Authority(folder, "ours").settings()
    process = EmbeddingProcess(folder / "embedding", ours).start()
    service, stranger = EmbeddedService(folder / "service"), EmbeddedService(folder / "stranger")
    try:
        for each, settings in [(service, ours), (stranger, Authority(folder, "theirs").settings())]:
            each.folder.mkdir()
            each.environment = {"VIDIMUS__EMBEDDING": addresses([process], "https"), **settings}
            each.start()
        client = service.client(service.new_tenant("first"))
        client.create_collection(CollectionId="staff")
        assert len(enrol(client, "staff", photos.obama, "obama")) == 1
        client = stranger.client(stranger.new_tenant("first"))
        client.create_collection(CollectionId="staff")
        with pytest.raises(client.exceptions.ThrottlingException):
            client.index_faces(CollectionId="staff", Image={"Bytes": photos.obama})
        with pytest.raises(grpc.RpcError):
            healthy(process.address, EMBEDDING)
    finally:
        for each in (service, stranger, process):
            each.close()
