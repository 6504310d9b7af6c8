"""`darkroom-server keys`, as an operator types it."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from jobs.access.secret import KeySecret
from local.stack import Stack


@pytest.fixture
def run(stores: Stack, redis: object) -> Any:
    def run(*words: str, code: int = 0) -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "local.command", "keys", *words],
            env={**os.environ, **stores.environment(), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr

    return run


def test_a_key_is_printed_alone_and_once(run: Any) -> None:
    printed, told = run("create", "--tenant", "ann", "--name", "her laptop")
    secret = KeySecret.read(printed.strip())
    assert secret is not None
    assert secret.id in told
    assert secret.secret not in told
    listed, _ = run("list")
    assert secret.id in listed
    assert "her laptop" in listed
    assert secret.secret not in listed + run("list", "--json")[0]


def test_limits_and_scopes_are_kept(run: Any) -> None:
    limits = {"jobs_per_minute": 3, "images_per_day": 40, "unfinished_jobs": 5}
    words = [f"--{name.replace('_', '-')}={most}" for name, most in limits.items()]
    made = json.loads(run("create", "--tenant=ann", "--scope=jobs:read", *words, "--json")[0])
    assert KeySecret.read(made.pop("key"))
    assert made["limits"] == limits
    assert made["scopes"] == ["jobs:read"]
    assert json.loads(run("list", "--json")[0]) == [made]
    assert "3 jobs per minute, 40 images per day, 5 unfinished jobs" in run("list")[0]


def test_a_webhook_brings_its_own_secret(run: Any) -> None:
    words = ("create", "--tenant=ann", "--webhook=https://example.com/hook", "--json")
    made = json.loads(run(*words)[0])
    assert made["webhook_secret"].startswith("whsec_")
    assert made["webhook"]["url"] == "https://example.com/hook"
    assert "whsec_" not in run("list", "--json")[0]


def test_a_key_is_revoked_by_its_id_or_by_itself(run: Any) -> None:
    for by in ("id", "key"):
        made = json.loads(run("create", "--tenant=ann", "--json")[0])
        revoked = json.loads(run("revoke", made[by], "--json")[0])
        assert revoked["id"] == made["id"]
        assert revoked["revoked_at"]


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("create", "--tenant=a b"), "tenant"),
        (("create", "--tenant=ann", "--jobs-per-minute=0"), "jobs_per_minute"),
        (("create", "--tenant=ann", "--webhook=ftp://example.com"), "url"),
        (("create", "--tenant=ann", "--webhook=http://169.254.169.254/"), "169.254.169.254"),
        (("revoke", "0123456789ab"), "0123456789ab"),
    ],
)
def test_what_cannot_be_is_one_clear_line(run: Any, words: tuple[str, ...], word: str) -> None:
    printed, complaint = run(*words, code=1)
    (line,) = complaint.splitlines()
    assert line.startswith("darkroom-server: ")
    assert word in line
    assert not printed


def test_help_tells_of_every_command(run: Any) -> None:
    shown, _ = run("--help")
    for word in ("create", "list", "revoke"):
        assert word in shown
