"""Requests made by hand and signed right: what a client would send that checks nothing by itself."""

import json
from dataclasses import dataclass, field

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from service import REGION, Key, Service


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str
    json: dict[str, object] = field(repr=False)

    @property
    def error(self) -> str | None:
        """The error's type; none where it is no error."""
        return self.json.get("__type")

    @property
    def message(self) -> str:
        """The error's message."""
        return self.json.get("Message", "")


class Raw:
    """Signs and sends whatever body it is given, over one connection that is kept."""

    def __init__(self, service: Service, key: Key) -> None:
        self.url = f"http://{service.address}/"
        self.signer = SigV4Auth(Credentials(key.access_key_id, key.secret_access_key), "rekognition", REGION)
        self.pool = urllib3.PoolManager(num_pools=1, maxsize=1)

    def ask(self, operation: str, body: dict[str, object] | bytes) -> Answer:
        """Asks once; every answer has a request id."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = AWSRequest(
            method="POST",
            url=self.url,
            data=content,
            headers={
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": f"RekognitionService.{operation}",
            },
        )
        self.signer.add_auth(request)
        headers = dict(request.headers.items())
        answer = self.pool.request("POST", self.url, body=content, headers=headers, retries=False, timeout=60.0)
        assert answer.headers["x-amzn-RequestId"]
        assert answer.headers["Content-Type"] == "application/x-amz-json-1.1"
        text = answer.data.decode()
        return Answer(answer.status, dict(answer.headers), text, json.loads(text) if text else {})
