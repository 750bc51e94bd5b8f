"""Each case of ``tests.cases`` is right."""

from __future__ import annotations

import pytest

from tests.cases import CASES, folder_of_inputs, tried


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.number)
def test_a_public_case_has_its_right_outcome(case):
    outcome = tried(case, folder_of_inputs())
    if outcome is None:
        pytest.skip(
            f"{case.input} is absent: no ../shared/cases beside the checkout and MULTITASKAIS_SHARED is not set"
        )
    assert outcome.right, outcome.seen
