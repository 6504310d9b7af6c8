"""Who may be under way together."""

import asyncio

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from worker.company import Company


async def test_a_suspect_waits_until_all_others_have_left_and_is_alone() -> None:
    company, inside, seen = Company(), set[str](), list[set[str]]()
    may_leave = asyncio.Event()

    async def job(name: str, *, alone: bool = False) -> None:
        async with company.join(alone=alone):
            inside.add(name)
            seen.append(set(inside))
            await may_leave.wait()
            inside.remove(name)

    first = [asyncio.create_task(job(name)) for name in ("a", "b")]
    await asyncio.sleep(0)
    suspect = asyncio.create_task(job("suspect", alone=True))
    last = asyncio.create_task(job("c"))
    may_leave.set()
    await asyncio.gather(*first, suspect, last)
    assert seen == [{"a"}, {"a", "b"}, {"suspect"}, {"c"}]


async def test_who_leaves_early_lets_the_next_in_before_its_block_ends() -> None:
    company = Company()
    async with company.join(alone=True) as leave:
        leave()
        async with asyncio.timeout(1), company.join(alone=True):
            pass


@given(
    plan=st.lists(
        st.tuples(st.booleans(), st.integers(0, 3), st.booleans()), min_size=1, max_size=20
    )
)
@hypothesis_settings(max_examples=100, deadline=None)
def test_whoever_is_cancelled_nobody_waits_for_ever_and_nobody_disturbs_one_alone(
    plan: list[tuple[bool, int, bool]],
) -> None:
    asyncio.run(asyncio.wait_for(_run(plan), 10))


async def _run(plan: list[tuple[bool, int, bool]]) -> None:
    company, inside = Company(), list[bool]()

    async def job(alone: bool, turns: int) -> None:
        async with company.join(alone=alone):
            inside.append(alone)
            try:
                assert len(inside) == 1 or not any(inside)
                for _ in range(turns):
                    await asyncio.sleep(0)
            finally:
                inside.remove(alone)

    tasks = []
    for alone, turns, is_cancelled in plan:
        tasks.append(asyncio.create_task(job(alone, turns)))
        await asyncio.sleep(0)
        if is_cancelled:
            tasks[len(tasks) // 2].cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert not [error for error in ended if isinstance(error, AssertionError)]
    async with company.join(alone=True):
        assert not inside
