"""Slots: the lowest first, moved down when there is room, and read no further than is allowed."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig

from pipelines.slots import SlotCache, Slots

CPU = torch.device("cpu")
CONFIG = LlamaConfig(
    num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, hidden_size=16
)


def slots_of(count: int) -> Slots:
    return Slots(CONFIG, count, 9, device=CPU, dtype=torch.float32)


@given(st.lists(st.integers(0, 20), max_size=40))
def test_what_is_under_way_stays_packed_and_keeps_its_keys_and_values(choices):
    """Images of one or two slots come and go; each finds what it wrote, in the first slots."""
    slots = slots_of(8)
    images: list[tuple[int, tuple[int, ...]]] = []
    for number, choice in enumerate(choices, start=1):
        count = 1 + choice % 2
        if choice > 12 and images:
            slots.give_back(images.pop(choice % len(images))[1])
        elif slots.free >= count:
            taken = slots.take(count)
            for slot in taken:
                slots.fill(slot, torch.full((2, 2, 2, 3, 4), float(number)))
            images.append((number, taken))
        images = [(mark, slots.move_down(own, filled=3)) for mark, own in images]
        used = [slot for _, own in images for slot in own]
        assert sorted(used) == list(range(len(used)))
        assert slots.free == 8 - len(used)
        for mark, own in images:
            assert all((slots.tensor[:, :, slot, :, :3] == mark).all() for slot in own)


def test_slots_say_what_they_take():
    assert slots_of(3).size_bytes == 2 * 2 * 3 * 2 * (16 + 1) * 4 * 4


def test_a_pass_writes_each_row_at_its_own_place_and_reads_up_to_the_length():
    slots = slots_of(3)
    cache = SlotCache(slots.tensor[:, :, :2], torch.tensor([1, 4]), length=5)
    new = torch.arange(16.0).view(2, 2, 1, 4)
    keys, values = cache.update(new, -new, layer_idx=1)
    assert keys.shape == values.shape == (2, 2, 5, 4)
    assert torch.equal(keys[0, :, 1], new[0, :, 0])
    assert torch.equal(values[1, :, 4], -new[1, :, 0])
    written = slots.tensor.ne(0).any(-1).any(3)
    assert written.nonzero()[:, :3].unique(dim=0).tolist() == [
        [1, 0, 0],
        [1, 0, 1],
        [1, 1, 0],
        [1, 1, 1],
    ]
