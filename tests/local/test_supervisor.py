"""Parts are started, watched, shown and stopped, in order and within their time."""

import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from local.errors import StackError
from local.part import Part
from local.supervisor import Supervisor


def part(name: str, program: str, marker: Path | None = None, **options: float) -> Part:
    """A Python program as a part; ready once its marker file exists, or at once without one."""

    async def ready() -> bool:
        return marker is None or await asyncio.to_thread(marker.exists)

    return Part(name=name, command=(sys.executable, "-c", program), ready=ready, **options)  # type: ignore[arg-type]


SLEEP = "import time; time.sleep(600)"


async def test_lines_are_prefixed_with_their_part(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    marker = tmp_path / "ready"
    program = f"print('hello', flush=True); open({str(marker)!r}, 'w').close(); {SLEEP}"
    async with Supervisor() as supervisor:
        await supervisor.start(part("one", program, marker))
    assert "one    | hello\n" in capsys.readouterr().out


async def test_held_lines_are_shown_later(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    marker = tmp_path / "ready"
    program = f"print('hello', flush=True); open({str(marker)!r}, 'w').close(); {SLEEP}"
    async with Supervisor() as supervisor:
        supervisor.hold_logs()
        await supervisor.start(part("one", program, marker))
        assert "hello" not in capsys.readouterr().out
        supervisor.show_logs()
        assert "hello" in capsys.readouterr().out


async def test_a_line_without_end_does_not_fill_memory(capsys: pytest.CaptureFixture[str]) -> None:
    program = f"import sys; sys.stdout.write('x' * 1_000_000); sys.stdout.flush(); {SLEEP}"
    async with Supervisor() as supervisor:
        await supervisor.start(part("one", program))
        shown = 0
        async with asyncio.timeout(10):
            while shown < 900_000:
                shown += len(capsys.readouterr().out)
                await asyncio.sleep(0.01)


async def test_a_part_that_ends_is_named_with_its_exit_code() -> None:
    async with Supervisor() as supervisor:
        await supervisor.start(part("one", "raise SystemExit(3)"))
        ever = asyncio.ensure_future(asyncio.sleep(60))
        with pytest.raises(StackError, match=r"^one ended by itself \(exit code 3\)$"):
            await supervisor.unless_failed(ever)


async def test_a_part_that_is_never_ready_is_named(tmp_path: Path) -> None:
    async with Supervisor() as supervisor:
        late = part("one", SLEEP, tmp_path / "never", ready_within_s=0.2)
        with pytest.raises(StackError, match="one was not ready within"):
            await supervisor.start(late)


async def test_a_program_that_is_not_there_is_named() -> None:
    async def ready() -> bool:
        return True

    async with Supervisor() as supervisor:
        with pytest.raises(StackError, match="one cannot be started"):
            await supervisor.start(Part(name="one", command=("/nowhere/program",), ready=ready))


async def test_a_part_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    marker = tmp_path / "ready"
    program = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"open({str(marker)!r}, 'w').close(); {SLEEP}"
    )
    others = set(psutil.Process().children())
    async with Supervisor() as supervisor:
        await supervisor.start(part("one", program, marker, stop_within_s=0.2))
        (child,) = set(psutil.Process().children()) - others
    assert not child.is_running()
