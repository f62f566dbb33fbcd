"""Signatures are those of the examples that AWS publishes, and of its own client."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from botocore.utils import percent_encode
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit.worm.sigv4 import Credentials, canonical, encode_path, sign, signature

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


DAY = "20150830T123600Z"
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqT"
    "flfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9"
    "HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYv"
    "KTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("name", "method", "path", "query", "headers", "body", "expected"),
    [
        ("header-value-trim", "GET", "/", {}, {"my-header1": "value1", "my-header2": '"a b c"'}, b"",
         "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
        ("unreserved", "GET", f"/{UNRESERVED}", {}, {}, b"",
         "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
        ("vanilla", "GET", "/", {}, {}, b"",
         "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("query-order-key-case", "GET", "/", {"Param2": "value2", "Param1": "value1"}, {}, b"",
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ("query-unreserved", "GET", "/", {UNRESERVED: UNRESERVED}, {}, b"",
         "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"),
        ("utf8-query", "GET", "/", {"\u1234": "bar"}, {}, b"",
         "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
        ("post", "POST", "/", {}, {}, b"",
         "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("post-header-key-sort", "POST", "/", {}, {"my-header1": "value1"}, b"",
         "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"),
        ("post-header-value-case", "POST", "/", {}, {"my-header1": "VALUE1"}, b"",
         "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"),
        ("post-query", "POST", "/", {"Param1": "value1"}, {}, b"",
         "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"),
        ("post-form", "POST", "/", {}, {"content-type": FORM}, b"Param1=value1",
         "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
        ("sts-header-before", "POST", "/", {}, {"x-amz-security-token": TOKEN}, b"",
         "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"),
    ],
    ids=lambda value: None,
)  # fmt: skip
def test_the_published_test_suite_of_aws(name, method, path, query, headers, body, expected):
    """Its service is "service" and its requests carry no hash of the body in a header, as S3's do, so its
    signatures are asked of the parts. Left out: repeated names, which the types exclude, and paths
    that are made shorter or encoded twice, which S3's rules forbid.
    """
    request = canonical(
        method, path, query, {"host": "example.amazonaws.com", "x-amz-date": DAY} | headers,
        sha256(body).hexdigest(),
    )  # fmt: skip
    scope = "20150830/us-east-1/service/aws4_request"
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    assert signature(secret, DAY, scope, request) == expected, name


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8).map("x-amz-meta-{}".format)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@settings(max_examples=300, deadline=None)
@given(
    method=st.sampled_from(["GET", "PUT", "HEAD", "DELETE"]),
    segments=st.lists(TEXT.filter(lambda text: text not in (".", "..")), min_size=1, max_size=4),
    query=st.dictionaries(TEXT.filter(bool), TEXT, max_size=4),
    headers=st.dictionaries(NAMES, VALUES, max_size=4),
    body=st.binary(max_size=30),
    token=st.none() | st.text("abcXYZ+/=", min_size=1, max_size=30),
)
@example(
    method="PUT", segments=["a log", "tile", "ü+$&=:;@,?#[]%41", ""],
    query={"versionId": "a/b+c =~", "retention": "", "ü": "\u1234 %20", "Z": "1", "a": "2"},
    headers={"x-amz-meta-a": "  two   spaces  ", "x-amz-meta-b": ""}, body=b"data", token="a-token=",
)  # fmt: skip
def test_any_request_is_signed_as_botocore_signs_it(method, segments, query, headers, body, token):
    """Spaces, Unicode, empty values, values to trim, a session's token, names that must be encoded."""
    keys = ("AKID", "secret/with+signs", token)
    path = "/" + "/".join(segments)
    host = {"host": "127.0.0.1:9"}
    ours = sign(
        Credentials(*keys), "eu-central-1", method=method, path=path, query=query,
        headers=host | {name.title(): value for name, value in headers.items()}, body=body, at=AT,
    )  # fmt: skip
    # Path and query in botocore's own encoding, as its serializer sends them.
    url = "http://127.0.0.1:9" + percent_encode(path, safe="/~")
    assert percent_encode(path, safe="/~") == encode_path(path)
    request = AWSRequest(method, url, dict(headers), body, params=dict(query))
    auth = S3SigV4Auth(BotoCredentials(*keys), "s3", "eu-central-1")
    # It would leave the body out over https, and only there.
    request.context["payload_signing_enabled"] = True
    with pytest.MonkeyPatch.context() as patch:
        naive = AT.replace(tzinfo=None)
        patch.setattr("botocore.auth.get_current_datetime", lambda *a, **k: naive)
        auth.add_auth(request)
    for name in ("X-Amz-Date", "X-Amz-Content-SHA256", "X-Amz-Security-Token"):
        assert request.headers.get(name) == ours.get(name.lower())
    assert request.headers["Authorization"].replace(", ", ",") == ours["authorization"]


@pytest.mark.parametrize("body", [b"", b"data"])
def test_the_body_is_always_signed(body):
    ours = sign(KEYS, "r", method="PUT", path="/", query={}, headers=HOST, body=body, at=AT)
    assert ours["x-amz-content-sha256"] == sha256(body).hexdigest()


def test_no_secret_shows():
    assert "wJalr" not in repr(KEYS)
    assert "a-token" not in repr(Credentials("a", "b", "a-token"))
