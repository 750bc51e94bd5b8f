"""The page of cases names tests that are there, and a case is called right only when they passed."""

from __future__ import annotations

import pytest

from tests.operation import Case, Selection, cases, names_in, outcomes, verdict

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.stream.test_a" name="test_x[1]"/>
<testcase classname="tests.stream.test_a" name="test_x[2]"><failure/></testcase>
<testcase classname="tests.stream.test_a" name="test_y"><skipped/></testcase>
<testcase classname="tests.stream.test_a" name="test_z"/>
</testsuite></testsuites>"""


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.what.split(" ")[0])
def test_each_case_names_tests_that_are_there(case):
    assert case.tests or case.commands
    for selection in case.tests:
        for word in selection.words or ("test_",):
            assert any(word in name for name in names_in(selection.file)), (selection.file, word)


def test_a_case_is_right_only_when_all_its_tests_were_tried_and_none_failed(tmp_path):
    (tmp_path / "report.xml").write_text(JUNIT)
    found = outcomes(tmp_path / "report.xml")

    def of(*words: str) -> str:
        tests = tuple(Selection("tests/stream/test_a.py", (word,)) for word in words)
        return verdict(Case("1", "", tests, ()), found)[0]

    assert of("z") == "right"
    assert of("x") == of("z", "x") == "WRONG"
    assert of("y") == of("z", "y") == of() == "not tried"
