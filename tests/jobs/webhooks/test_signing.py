"""Signatures that receivers' own libraries take, and secrets that never show."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr, ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from jobs.settings import Settings
from jobs.webhooks.signing import Signer, secrets_in

OLD, NEW = ("whsec_" + base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
BODY = '{"type":"job.succeeded","prompt":"caf\u00e9 \u2615"}'


def test_a_receiver_verifies_what_was_signed() -> None:
    headers = Signer([OLD]).headers("msg_1", BODY, datetime.now(UTC))
    assert Webhook(OLD).verify(BODY, headers)["type"] == "job.succeeded"
    for forged in (
        {**headers, "webhook-id": "msg_2"},
        {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)},
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(OLD).verify(BODY, forged)
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(BODY + " ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(BODY, headers)


def test_while_a_secret_is_replaced_holders_of_either_verify() -> None:
    headers = Signer([NEW, OLD]).headers("msg_1", BODY, datetime.now(UTC))
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(BODY, headers)


def test_an_old_message_cannot_be_played_again() -> None:
    headers = Signer([OLD]).headers("msg_1", BODY, datetime.now(UTC) - timedelta(minutes=6))
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(OLD).verify(BODY, headers)


@pytest.mark.parametrize(
    "secret",
    [
        "hunter2-hunter2-hunter2",
        OLD.removeprefix("whsec_"),
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_not*base64*not*base64*not*base64",
        f"{OLD},hunter2-hunter2-hunter2",
    ],
)
def test_a_bad_secret_is_refused_and_not_repeated(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_WEBHOOK_SECRET", secret)
    with pytest.raises(ValidationError) as refusal:
        Settings()
    assert "whsec_ and 24 to 64 random bytes" in str(refusal.value)
    for part in secret.split(","):
        assert part not in str(refusal.value)


def test_secrets_are_listed_by_comma() -> None:
    assert secrets_in(f" {NEW} , {OLD},") == [NEW, OLD]
    assert secrets_in("") == []
    assert "whsec" not in repr(Settings(webhook_secret=SecretStr(OLD)))
