"""Signs a few requests with botocore and prints them as JSON: python3 make_sigv4_vectors.py > sigv4_vectors.json

The key is made up. Needs botocore (any version of the last years); run by hand only.
"""

import datetime
import json

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KEY, SECRET = "VDMSEXAMPLEEXAMPLE22", "made-up-secret-of-a-test-vector-00000000"
NOW = datetime.datetime(2026, 11, 22, 20, 5, 0, tzinfo=datetime.timezone.utc)


def signed(region, host, body, extra):
    headers = {
        "X-Amz-Target": "RekognitionService.ListCollections",
        "Content-Type": "application/x-amz-json-1.1",
        **extra,
    }
    request = AWSRequest("POST", f"http://{host}/", headers=headers, data=body.encode())
    botocore.auth.get_current_datetime = lambda *_, **__: NOW
    botocore.auth.SigV4Auth(Credentials(KEY, SECRET), "rekognition", region).add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers.setdefault("host", host)
    return {"headers": headers, "body": body}


print(
    json.dumps(
        {
            "access_key_id": KEY,
            "secret": SECRET,
            "signed_at_ms": int(NOW.timestamp() * 1000),
            "requests": [
                signed("eu-west-1", "127.0.0.1:7600", "{}", {}),
                signed("us-east-1", "faces.example.org", '{"MaxResults": 5}', {}),
                signed(
                    "ap-southeast-2",
                    "localhost:7600",
                    '{"CollectionId": "größe"}',
                    {"X-Vidimus-Target-Fpir": "  0.01   and  more ", "Amz-Sdk-Invocation-Id": "abc"},
                ),
            ],
        },
        indent=2,
        ensure_ascii=False,
    )
)
