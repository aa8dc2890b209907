"""A Qdrant server that is there already: the one that `QDRANT_URL` names, with `QDRANT_API_KEY` where it wants a key."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from wire import Message, encoded

URL, KEY = "QDRANT_URL", "QDRANT_API_KEY"
PORT = 6334
LIST, DELETE = "/qdrant.Collections/List", "/qdrant.Collections/Delete"


@dataclass(frozen=True)
class QdrantServer:
    """A server's gRPC address."""

    host: str
    port: int
    has_tls: bool = False
    key: str | None = None
    call_seconds_max: float = 30

    @classmethod
    def named(cls) -> "QdrantServer | None":
        """The one that the environment names."""
        if not os.environ.get(URL):
            return None
        url = urlsplit(os.environ[URL])
        return cls(url.hostname or "127.0.0.1", url.port or PORT, url.scheme == "https", os.environ.get(KEY))

    @property
    def index(self) -> str:
        """As the setting `index` names it."""
        return f"qdrant{'s' if self.has_tls else ''}://{self.host}:{self.port}"

    def call(self, method: str, request: bytes) -> Message:
        """One call, as bytes; the program's own client is not asked what it has done."""
        import grpc

        address = f"{self.host}:{self.port}"
        secure = grpc.secure_channel(address, grpc.ssl_channel_credentials()) if self.has_tls else None
        with secure or grpc.insecure_channel(address) as channel:
            metadata = [("api-key", self.key)] if self.key else []
            answer = channel.unary_unary(method)(request, timeout=self.call_seconds_max, metadata=metadata)
        return Message(answer)

    def collections(self, prefix: str) -> list[str]:
        """The names of the collections that begin so."""
        names = [listed.text(1) for listed in self.call(LIST, b"").messages(1)]
        return [name for name in names if name.startswith(prefix)]

    def drop(self, prefix: str) -> None:
        """Drops the collections whose names begin so."""
        for name in self.collections(prefix):
            self.call(DELETE, encoded([(1, name.encode())]))
