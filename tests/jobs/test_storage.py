"""Pictures on a real S3 server."""

import httpx
import pytest
from pydantic import SecretStr

from jobs.errors import StoreUnavailableError
from jobs.model import OutputFormat
from jobs.settings import Settings
from jobs.storage import PictureStore, picture_key
from jobs.store import new_job_id

CONTENT = b"\x89PNG not really"


def test_a_stored_picture_is_downloaded_from_its_signed_address(pictures: PictureStore) -> None:
    key = picture_key(new_job_id(), 0, OutputFormat.PNG)
    pictures.put(key, CONTENT, "image/png")
    answer = httpx.get(pictures.presign(key))
    assert answer.content == CONTENT
    assert answer.headers["content-type"] == "image/png"


def test_a_stored_picture_is_read_again_and_one_that_is_not_there_is_an_error(
    pictures: PictureStore,
) -> None:
    key = picture_key(new_job_id(), 0, OutputFormat.PNG)
    with pytest.raises(StoreUnavailableError, match="NoSuchKey"):
        pictures.get(key)
    pictures.put(key, CONTENT, "image/png")
    assert pictures.get(key) == CONTENT


def test_nobody_reads_a_picture_without_a_signature(pictures: PictureStore) -> None:
    key = picture_key(new_job_id(), 0, OutputFormat.PNG)
    pictures.put(key, CONTENT, "image/png")
    address = pictures.presign(key)
    bare = address.split("?")[0]
    tampered = address.replace("X-Amz-Expires=", "X-Amz-Expires=9")
    for refused in (httpx.get(bare), httpx.get(tampered)):
        assert refused.status_code in (400, 403)
        assert CONTENT not in refused.content


def test_a_retry_overwrites_its_own_picture(pictures: PictureStore) -> None:
    key = picture_key(new_job_id(), 0, OutputFormat.PNG)
    pictures.put(key, b"the first attempt's", "image/png")
    pictures.put(key, CONTENT, "image/png")
    assert httpx.get(pictures.presign(key)).content == CONTENT


def test_a_deleted_picture_is_gone_and_deleting_it_again_is_no_error(
    pictures: PictureStore,
) -> None:
    key = picture_key(new_job_id(), 0, OutputFormat.PNG)
    pictures.put(key, CONTENT, "image/png")
    for _ in range(2):
        pictures.delete([key])
        assert httpx.get(pictures.presign(key)).status_code == 404


def test_addresses_are_signed_for_the_public_endpoint(settings: Settings) -> None:
    public = settings.model_copy(update={"s3_public_endpoint": "https://pictures.example.org"})
    address = PictureStore(public).presign("a/b.png")
    assert address.startswith("https://pictures.example.org/darkroom/a/b.png?")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"s3_secret_key": SecretStr("not-the-secret")}, "SignatureDoesNotMatch|AccessDenied|403"),
        ({"s3_bucket": "no-such-bucket"}, "NoSuchBucket|404"),
        ({"s3_endpoint": "http://127.0.0.1:1"}, "EndpointConnectionError"),
    ],
)
def test_what_keeps_a_picture_out_is_named_without_secrets(
    settings: Settings, wrong: dict[str, object], reason: str
) -> None:
    chosen = settings.model_copy(update=wrong)
    with pytest.raises(StoreUnavailableError, match=reason) as refused:
        PictureStore(chosen).check()
    assert chosen.s3_secret_key is not None
    assert chosen.s3_secret_key.get_secret_value() not in str(refused.value)
    with pytest.raises(StoreUnavailableError):
        PictureStore(chosen).put("a/b.png", CONTENT, "image/png")
