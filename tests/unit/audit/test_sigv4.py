"""Signatures are those of the examples that AWS publishes, and of its own client."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from audit.worm.sigv4 import Credentials, encode, sign

KEYS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
AT = datetime(2013, 5, 24, tzinfo=UTC)
HOST = {"host": "examplebucket.s3.amazonaws.com"}


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "body", "signature"),
    [
        ("GET", "/test.txt", {}, {"range": "bytes=0-9"}, b"",
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        ("PUT", "/test$file.text", {},
         {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
         b"Welcome to Amazon S3.",
         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        ("GET", "/", {"lifecycle": ""}, {}, b"",
         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("GET", "/", {"max-keys": "2", "prefix": "J"}, {}, b"",
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)  # fmt: skip
def test_the_examples_of_aws(method, path, query, headers, body, signature):
    signed = sign(
        KEYS, "us-east-1", method=method, path=path, query=query, headers=HOST | headers,
        body=body, at=AT,
    )  # fmt: skip
    assert signed["authorization"].endswith(f"Signature={signature}")


def test_a_request_of_ours_is_signed_as_botocore_signs_it(monkeypatch):
    """With what the examples lack: a session's token, a version id, a name that must be encoded."""
    keys = Credentials("AKID", "secret/with+signs", "a-token=")
    query = {"versionId": "a/b+c =~", "retention": ""}
    headers = {"host": "127.0.0.1:9", "x-amz-object-lock-mode": "COMPLIANCE"}
    ours = sign(
        keys, "eu-central-1", method="PUT", path="/b/a log/tile/0/x001/234", query=query,
        headers=headers, body=b"data", at=AT,
    )  # fmt: skip
    url = f"http://127.0.0.1:9/b/a%20log/tile/0/x001/234?{encode(query)}"
    request = AWSRequest("PUT", url, {k: v for k, v in headers.items() if k != "host"}, b"data")
    auth = S3SigV4Auth(
        BotoCredentials("AKID", "secret/with+signs", "a-token="), "s3", "eu-central-1"
    )
    monkeypatch.setattr(
        "botocore.auth.get_current_datetime", lambda *a, **k: AT.replace(tzinfo=None)
    )
    auth.add_auth(request)
    assert request.headers["X-Amz-Date"] == ours["x-amz-date"]
    theirs = request.headers["Authorization"].rpartition("=")[2]
    assert ours["authorization"].rpartition("=")[2] == theirs


def test_no_secret_shows():
    assert "wJalr" not in repr(KEYS)
    assert "a-token" not in repr(Credentials("a", "b", "a-token"))
