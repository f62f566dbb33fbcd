"""The double speaks S3: AWS's own client is signed in, understood, and refused where AWS refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import botocore.session
import pytest
from botocore.client import Config
from botocore.exceptions import ClientError

from loadtest.s3.server import Double, serving


@pytest.fixture
def client():
    double = Double({"AKID": "s3cr3t"}, page=2)
    double.make("audit")
    with serving(double) as endpoint:
        made = botocore.session.Session().create_client(
            "s3", region_name="eu-test-1", endpoint_url=endpoint, aws_access_key_id="AKID",
            aws_secret_access_key="s3cr3t",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
        )  # fmt: skip
        yield made
        made.close()


def put(client, key="k", until=None, **more):
    until = until or datetime.now(UTC) + timedelta(days=10)
    return client.put_object(
        Bucket="audit", Key=key, Body=b"data", ChecksumAlgorithm="SHA256",
        ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until, **more,
    )["VersionId"]  # fmt: skip


def refused(code, call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code


def test_a_locked_object_is_put_read_and_kept(client):
    version = put(client)
    head = client.head_object(Bucket="audit", Key="k", VersionId=version, ChecksumMode="ENABLED")
    assert (head["ObjectLockMode"], head["ContentLength"]) == ("COMPLIANCE", 4)
    assert client.get_object(Bucket="audit", Key="k")["Body"].read() == b"data"
    refused("AccessDenied", client.delete_object, Bucket="audit", Key="k", VersionId=version)
    shorter = {"Mode": "COMPLIANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(days=1)}
    refused(
        "AccessDenied", client.put_object_retention, Bucket="audit", Key="k", VersionId=version,
        Retention=shorter,
    )  # fmt: skip
    refused("PreconditionFailed", put, client=client, IfNoneMatch="*")
    refused("InvalidArgument", put, client=client, until=datetime.now(UTC) - timedelta(1))
    refused(
        "InvalidBucketState", client.put_bucket_versioning, Bucket="audit",
        VersioningConfiguration={"Status": "Suspended"},
    )  # fmt: skip


def test_its_listings_are_paged_and_read(client):
    for n in range(5):
        put(client, f"a/{n}")
        put(client, f"a/{n}")
    client.delete_object(Bucket="audit", Key="a/0")
    pages = list(client.get_paginator("list_object_versions").paginate(Bucket="audit", Prefix="a/"))
    assert len(pages) == 6
    assert sum(len(page.get("Versions", ())) for page in pages) == 10
    assert sum(len(page.get("DeleteMarkers", ())) for page in pages) == 1
    folders = client.list_object_versions(Bucket="audit", Delimiter="/")
    assert [one["Prefix"] for one in folders["CommonPrefixes"]] == ["a/"]


def test_a_wrong_secret_is_refused(client):
    client._request_signer._credentials.secret_key = "another"
    refused("SignatureDoesNotMatch", client.get_object, Bucket="audit", Key="k")
