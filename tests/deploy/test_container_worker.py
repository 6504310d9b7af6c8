"""A worker as a container runs it: as process 1, with nothing to write but its volumes."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from hub_cache import keep_in_hub_cache

from jobs.model import AdmittedRequest, JobStatus
from jobs.storage import PictureStore, picture_key
from jobs.store import JobStore
from local.stack import Stack

REPOSITORY = Path(__file__).parent.parent.parent
DRAIN_S = 5.0

#: Makes every file system read-only but the volume, and becomes process 1 of a container.
CONTAINER = """
set -e
mount --make-rprivate /
mount -t tmpfs none "$VOLUME"
mkdir "$VOLUME/tmp" "$VOLUME/outbox"
awk '{print $2}' /proc/self/mounts | grep -vE "^(/proc|/sys|/dev|$VOLUME)" |
    while read -r place; do mount -o remount,bind,ro "$place"; done
! touch "$REPOSITORY/written" 2>/dev/null
cd "$REPOSITORY"
exec "$PYTHON" -m worker
"""
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--mount-proc")


def _has_namespaces() -> bool:
    if not shutil.which("unshare"):
        return False
    return subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def container(stores: Stack, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """With its weights in a volume that somebody has filled."""
    volume = tmp_path / "volume"
    volume.mkdir()
    entry = yaml.safe_load((REPOSITORY / "models.yaml").read_text())["shapes-sd"]
    keep_in_hub_cache(REPOSITORY / entry["source"], tmp_path / "weights", "darkroom/shapes-sd")
    catalog = tmp_path / "models.yaml"
    catalog.write_text(yaml.safe_dump({"shapes-sd": entry | {"source": "darkroom/shapes-sd"}}))
    environment = {
        **os.environ,
        **stores.environment(),
        "DARKROOM_CATALOG": str(catalog),
        "HF_HOME": str(tmp_path / "weights"),
        "HF_HUB_OFFLINE": "1",
        "DARKROOM_OUTBOX": str(volume / "outbox"),
        "DARKROOM_DRAIN_S": str(DRAIN_S),
        "HOME": str(volume / "tmp"),
        "TMPDIR": str(volume / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "VOLUME": str(volume),
        "REPOSITORY": str(REPOSITORY),
        "PYTHON": sys.executable,
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*NAMESPACES, "--kill-child", "sh", "-c", CONTAINER],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    yield process
    process.kill()
    process.wait(timeout=10)


@pytest.mark.slow
@pytest.mark.skipif(not _has_namespaces(), reason="namespaces need root and unshare")
async def test_it_works_on_a_read_only_file_system_and_drains_as_process_1(
    container: subprocess.Popen[bytes],
    store: JobStore,
    pictures: PictureStore,
    request_: AdmittedRequest,
    tmp_path: Path,
) -> None:
    job = await store.submit(request_)
    async with asyncio.timeout(60):
        while (await store.get(job.id)).status is not JobStatus.SUCCEEDED:
            assert container.poll() is None, (tmp_path / "log").read_text()
            await asyncio.sleep(0.05)
    assert pictures.get(picture_key(job.id, 0, request_.output_format))
    (process_1,) = psutil.Process(container.pid).children()
    process_1.send_signal(signal.SIGTERM)
    assert container.wait(timeout=DRAIN_S + 10) == 0
    assert not (REPOSITORY / "written").exists()
