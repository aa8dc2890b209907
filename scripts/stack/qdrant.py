"""A Qdrant server, asked over gRPC without the program's own client."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from wire import Message, encoded

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
    def at(cls, url: str, key: str | None) -> "QdrantServer":
        """The one at a URL, `http://host:6334` or `https://…`; ValueError where it is none."""
        parsed = urlsplit(url)
        if parsed.scheme not in {"http", "https"} or not parsed.hostname or parsed.path.strip("/"):
            raise ValueError(f"{url} is no http://host:{PORT} or https://host:{PORT}")
        return cls(parsed.hostname, parsed.port or PORT, parsed.scheme == "https", key or None)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http{'s' if self.has_tls else ''}://{self.address}"

    @property
    def index(self) -> str:
        """As the setting `index` names it."""
        return f"qdrant{'s' if self.has_tls else ''}://{self.address}"

    def call(self, method: str, request: bytes) -> Message:
        """One call, as bytes; the program's own client is not asked what it has done."""
        import grpc

        secure = grpc.secure_channel(self.address, grpc.ssl_channel_credentials()) if self.has_tls else None
        with secure or grpc.insecure_channel(self.address) as channel:
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
