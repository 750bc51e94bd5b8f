"""Days of traffic leave no more behind than hours: the fold's part of ``python -m tests.faults.soak``, without a broker."""

from __future__ import annotations

import gc

import pytest

from benchmarks.machine import give_back_freed, resident_bytes
from multitaskais.engine.engine import PartitionEngine
from multitaskais.model import folder as modelfolder
from tests.faults.traffic import hour

STAY, COME_AND_GO = 30, 30
ROUNDS = 18


@pytest.fixture(scope="module")
def rounds() -> list[tuple[int, int]]:
    """(vessels in the state, resident bytes) after each round."""
    fleet = PartitionEngine(modelfolder.load("brittany"))
    out = []
    for number in range(ROUNDS):
        fleet.process(hour(number, STAY, COME_AND_GO, 180.0))
        fleet.snapshot()
        gc.collect()
        give_back_freed()
        out.append((len(fleet), resident_bytes()))
    return out


def test_vessels_that_went_are_forgotten(rounds):
    vessels = [n for n, _ in rounds]
    assert vessels[0] == STAY + COME_AND_GO
    # A vessel is forgotten when it was silent for a day: four rounds later.
    assert max(vessels) <= STAY + 6 * COME_AND_GO
    assert len(set(vessels[6:])) == 1


def test_memory_is_flat(rounds):
    memory = [b for _, b in rounds]
    assert max(memory[12:]) < max(memory[6:12]) + 2e6
