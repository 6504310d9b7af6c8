"""Fairness and batch formation, as properties."""

import itertools
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pipelines.turns import PATIENCE, fill_batch, in_order, join_turns, next_turn

LONGEST_STEP_S = 8.0
costs = st.dictionaries(
    st.sampled_from("abcde"), st.floats(0.001, LONGEST_STEP_S), min_size=2, max_size=5
)


@given(costs, st.integers(1, 200))
def test_no_key_gets_more_than_a_step_ahead_of_another(cost_of, turns):
    used = {}
    for _ in range(turns):
        used = join_turns(used, cost_of)
        used[next_turn(used)] += cost_of[next_turn(used)]
    assert max(used.values()) - min(used.values()) <= LONGEST_STEP_S


@given(costs, st.lists(st.sets(st.sampled_from("abcde"), min_size=1), min_size=1, max_size=60))
def test_whoever_stays_gets_a_turn_while_others_come_and_go(cost_of, companies):
    """However others come and go, one that is always there waits a bounded time."""
    used, waited_s = {}, 0.0
    for company in companies:
        keys = ["stays", *sorted(company)]
        used = join_turns(used, keys)
        turn = next_turn(used)
        cost_s = cost_of.get(turn, 1.0)
        used[turn] += cost_s
        waited_s = 0.0 if turn == "stays" else waited_s + cost_s
        assert waited_s <= 2 * 5 * LONGEST_STEP_S


def test_a_newcomer_neither_claims_the_past_nor_waits_for_it():
    assert join_turns({"old": 100.0, "older": 90.0}, ["old", "older", "new"])["new"] == 90.0


def test_a_key_that_left_is_forgotten():
    assert join_turns({"gone": 1.0, "here": 2.0}, ["here"]) == {"here": 2.0}


@dataclass(frozen=True)
class Member:
    rows: int
    steps: int
    came_s: float


member = st.builds(Member, st.integers(1, 2), st.integers(1, 100), st.floats(0, 1000))
members = st.lists(member, min_size=1, max_size=20)
step_lengths = st.floats(0.001, 10)


@given(members, step_lengths)
def test_a_short_request_overtakes_a_long_one_but_never_for_long(line, step_s):
    ordered = in_order(line, step_s)
    assert sorted(map(hash, ordered)) == sorted(map(hash, line))
    for first, second in itertools.pairwise(ordered):
        if second.came_s < first.came_s:
            assert first.steps < second.steps
            longest_s = PATIENCE * (second.steps - first.steps) * step_s
            assert first.came_s - second.came_s <= longest_s + 1e-6


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), step_lengths)
def test_equals_keep_the_order_in_which_they_came(moments, step_s):
    line = [Member(1, 20, moment) for moment in moments]
    assert [image.came_s for image in in_order(line, step_s)] == sorted(moments)


@given(members, st.integers(1, 16))
def test_a_batch_is_the_head_of_the_line_and_as_long_as_fits(waiting, max_rows):
    batch = fill_batch(waiting, max_rows)
    rows = sum(member.rows for member in batch)
    assert batch == waiting[: len(batch)]
    assert rows <= max_rows or len(batch) == 1
    if len(batch) < len(waiting):
        assert rows + waiting[len(batch)].rows > max_rows
