"""What lies in the stores, read behind the service's back: records, photos and audit batches in S3, points, bytes of the log."""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import boto3
from botocore.config import Config
from components import BUCKET, Backing
from wire import Message, encoded

SCROLL = "/qdrant.Points/Scroll"
PAGE = 1000
CALL_SECONDS_MAX = 5
# `record.proto`: the states by number.
ERASED = 4
# All that an erased point's payload has.
MARK = {"dead_part", "version", "erased_at"}
# So much of a photo or of a template is looked for: nothing else has it by chance.
PIECE_BYTES = 32


@dataclass(frozen=True)
class StoredRecord:
    """A photo's record, as far as an auditor asks for it."""

    key: str
    part: str
    name: str
    image: str
    state: int
    photo: str | None
    photos_to_remove: tuple[str, ...]
    live: tuple[str, ...]
    # Erased faces of which a template is left: there must be none.
    erased_with_template: tuple[str, ...]
    # Every face's version, erased ones too.
    versions: dict[str, int]
    # The beginnings of its faces' templates.
    templates: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class StoredPoint:
    """A point, as far as an auditor asks for it."""

    version: int
    is_erased: bool
    has_vector: bool
    # What its payload has besides an erased point's mark.
    fields: frozenset[str] = frozenset()
    # It is no face's: it says of which life of the log the index has everything.
    is_marker: bool = False


class Blobs:
    """The objects of one service."""

    def __init__(self, backing: Backing, name: str) -> None:
        config = Config(
            s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3}
        )
        self.client = boto3.client("s3", config=config, **backing.s3_client())
        self.prefix = f"{name}/"

    def keys(self, under: str = "") -> Iterator[str]:
        """The keys of all objects under a prefix, without the service's own."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=self.prefix + under)
        for page in pages:
            for entry in page.get("Contents", []):
                yield entry["Key"].removeprefix(self.prefix)

    def read(self, key: str) -> bytes:
        """An object as it is stored."""
        return self.client.get_object(Bucket=BUCKET, Key=self.prefix + key)["Body"].read()

    def audited(self) -> set[str]:
        """The request ids of every record of every audit batch."""
        return {request for key in self.keys("audit/") for request in requests_of_batch(self.read(key))}

    def records(self) -> list[StoredRecord]:
        """Every record."""
        keys = [key for key in self.keys("tenants/") if "records" in key.split("/")]
        return [read_record(key, self.read(key)) for key in keys]

    def photos(self) -> set[str]:
        """The keys of all photos."""
        return {key for key in self.keys("tenants/") if "photos" in key.split("/")}


def requests_of_batch(batch: bytes) -> Iterable[str]:
    """The request ids of an audit batch's records."""
    return [record.text(5) for record in Message(batch).messages(6)]


def read_record(key: str, content: bytes) -> StoredRecord:
    """A record from its bytes (`record.proto`)."""
    message = Message(content)
    part = key.split("/records/")[0]
    image = uuid.UUID(bytes=message.content(4))
    face_ids = {face: str(uuid.UUID(int=image.int | face.number(1))) for face in message.messages(12)}
    erased = [face for face in face_ids if face.has(5)]
    live = [face_ids[face] for face in face_ids if not face.has(5)]

    def photo(named: Message) -> str:
        return f"{part}/photos/{named.text(1)}/{image}-{named.content(2).hex()}"

    photos = [photo(named) for named in message.messages(10)]
    return StoredRecord(
        key=key,
        part=part,
        name=message.text(6),
        image=str(image),
        state=message.number(7),
        photo=photos[0] if photos else None,
        photos_to_remove=tuple(photo(named) for named in message.messages(11)),
        live=tuple(live),
        erased_with_template=tuple(face_ids[face] for face in erased if face.has(6)),
        versions={face_ids[face]: face.number(2) for face in face_ids},
        templates=tuple(found.content(6)[:PIECE_BYTES] for face in face_ids for found in face.messages(6)),
    )


class Points:
    """The points of one service's index, asked for over Qdrant's gRPC."""

    def __init__(self, backing: Backing, prefix: str) -> None:
        self.server = replace(backing.qdrant, call_seconds_max=CALL_SECONDS_MAX)
        self.prefix = prefix

    def versions(self) -> dict[str, int]:
        """The version of every point, erased ones too."""
        return {face: point.version for face, point in self._all(with_vectors=False)}

    def everything(self) -> dict[str, StoredPoint]:
        """Every point of a face, erased ones too."""
        return {face: point for face, point in self._all(with_vectors=True) if not point.is_marker}

    def _all(self, with_vectors: bool) -> Iterator[tuple[str, StoredPoint]]:
        for collection in self.server.collections(self.prefix):
            for point in self._scroll(collection, with_vectors):
                payload = {entry.text(1): entry.messages(2)[0] for entry in point.messages(2)}
                if "version" in payload:
                    yield point.messages(1)[0].text(2), read_point(point, payload)

    def _scroll(self, collection: str, with_vectors: bool) -> Iterator[Message]:
        asked: list[tuple[int, int | bytes]] = [(1, collection.encode()), (4, PAGE), (6, encoded([(1, 1)]))]
        asked += [(7, encoded([(1, 1)]))] if with_vectors else []
        after: list[tuple[int, int | bytes]] = []
        while True:
            answer = self.server.call(SCROLL, encoded([*asked, *after]))
            yield from answer.messages(2)
            if not answer.has(1):
                return
            after = [(3, answer.content(1))]


def read_point(point: Message, payload: dict[str, Message]) -> StoredPoint:
    """A point of a scroll's answer. Its vectors are one without a name, or some by their names."""
    vectors = point.messages(4)
    has_vector = any(each.has(1) or any(named.has(1) for named in each.messages(2)) for each in vectors)
    is_marker = "enrolled_at" in payload and payload["enrolled_at"].number(3) == 0
    return StoredPoint(
        version=payload["version"].number(3),
        is_erased="dead_part" in payload,
        has_vector=has_vector,
        fields=frozenset(payload) - MARK,
        is_marker=is_marker,
    )


def in_log(folder: Path, pieces: set[bytes]) -> set[bytes]:
    """Which pieces lie in a segment of a service's topics; the brokers of this folder keep records as they were said, uncompressed."""
    found: set[bytes] = set()
    for segment in folder.glob("broker-*/*.*-*/*.log"):
        # One that was trimmed meanwhile has nothing any more.
        content = segment.read_bytes() if segment.exists() else b""
        found |= {piece for piece in pieces - found if piece in content}
    return found
