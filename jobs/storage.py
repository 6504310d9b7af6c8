"""Pictures in S3-compatible storage, by boto3. The local stack runs a real S3 server too."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from jobs.errors import StoreUnavailableError
from jobs.model import Job, OutputFormat
from jobs.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def picture_key(job_id: str, index: int, output_format: OutputFormat) -> str:
    """Where a picture lies. It follows from job and index alone, so a retry overwrites itself."""
    return f"{job_id[:8]}/{job_id}/{index}.{output_format.value}"


def picture_keys(job: Job) -> list[str]:
    """Where every picture of a job lies, or would."""
    request = job.request
    return [picture_key(job.id, index, request.output_format) for index in range(request.images)]


def job_of_key(key: str) -> str | None:
    """The job whose picture lies under a key; None for whatever is not ours."""
    match = re.fullmatch(r"[0-9a-f]{8}/([0-9a-f]{32})/\d+\.[a-z]+", key)
    return match[1] if match else None


@dataclass(frozen=True, kw_only=True)
class StoredPicture:
    """A picture as the bucket lists it."""

    key: str
    job_id: str
    size_bytes: int
    stored_at: datetime


class PictureStore:
    """One bucket of pictures. Its calls block: run them in a thread."""

    def __init__(self, settings: Settings) -> None:
        self.bucket = settings.s3_bucket
        self._url_ttl_s = settings.presigned_url_ttl_s
        self._s3 = _client(settings, settings.s3_endpoint)
        # A signature covers the host name, so clients' addresses are signed for the public one.
        public = settings.s3_public_endpoint
        self._public_s3 = _client(settings, public) if public else self._s3

    def put(self, key: str, content: bytes, content_type: str) -> None:
        """Store a picture, over an earlier one of the same key.

        Raises:
            StoreUnavailableError: it could not be stored.
        """
        with _storage_errors("a picture cannot be stored"):
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=content, ContentType=content_type)

    def get(self, key: str) -> bytes:
        """A picture's file.

        Raises:
            StoreUnavailableError: it could not be read, or is not there.
        """
        with _storage_errors("a picture cannot be read"):
            return self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def presign(self, key: str) -> str:
        """An address that downloads the picture without credentials, for a short time."""
        return self._public_s3.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=self._url_ttl_s
        )

    def pages(self) -> Iterator[list[StoredPicture]]:
        """Every picture of the bucket, about a thousand at a time, oldest job first.

        Raises:
            StoreUnavailableError: the rest cannot be listed now.
        """
        with _storage_errors("the bucket cannot be listed"):
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
                yield [
                    StoredPicture(
                        key=found["Key"],
                        job_id=job_id,
                        size_bytes=found["Size"],
                        stored_at=found["LastModified"],
                    )
                    for found in page.get("Contents", [])
                    if (job_id := job_of_key(found["Key"]))
                ]

    def delete(self, keys: list[str]) -> None:
        """Delete pictures; one that is not there is no error.

        Raises:
            StoreUnavailableError: some may still be there.
        """
        with _storage_errors("a picture cannot be deleted"):
            for key in keys:
                self._s3.delete_object(Bucket=self.bucket, Key=key)

    def check(self) -> None:
        """
        Raises:
            StoreUnavailableError: the bucket cannot be reached; the text says why.
        """
        with _storage_errors(f"the bucket {self.bucket!r} cannot be reached"):
            self._s3.head_bucket(Bucket=self.bucket)


def _client(settings: Settings, endpoint: str | None) -> "S3Client":
    def revealed(secret: object) -> str | None:
        return secret.get_secret_value() if hasattr(secret, "get_secret_value") else None

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=revealed(settings.s3_access_key),
        aws_secret_access_key=revealed(settings.s3_secret_key),
        config=Config(
            signature_version="s3v4",
            connect_timeout=settings.s3_timeout_s,
            read_timeout=settings.s3_timeout_s,
            retries={"max_attempts": 3, "mode": "standard"},
            s3={"addressing_style": "path" if endpoint else "auto"},
            max_pool_connections=32,
        ),
    )


@contextmanager
def _storage_errors(what: str) -> Iterator[None]:
    """Turn whatever S3 or the way to it says into the one error that callers know."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise StoreUnavailableError(f"{what} ({_reason(error)})") from error


def _reason(error: BotoCoreError | ClientError) -> str:
    """A word that names the failure and holds no address, key or signature."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__
