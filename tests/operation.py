"""The cases of operation of ``docs/operator/cases.md``, tried: each row names the tests that show what happens here.

    python -m tests.operation              # runs them and prints the table; exit code 1 when one of them is wrong

A case is right when all tests that its row names pass, and wrong when one fails. Commands in a row (``python -m ...``) take longer, and
are not run.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "operator" / "cases.md"


class Selection(NamedTuple):
    """Tests of one file: all, or those whose names hold one of ``words``."""

    file: str
    words: tuple[str, ...]

    def holds(self, file: str, name: str) -> bool:
        return file == self.file and (not self.words or any(word in name for word in self.words))

    def nodes(self) -> list[str]:
        """What pytest is given: FILE::NAME of each."""
        return [f"{self.file}::{name}" for name in names_in(self.file) if self.holds(self.file, name)]


class Case(NamedTuple):
    what: str  # number and what happened
    here: str  # what happens here
    tests: tuple[Selection, ...]
    commands: tuple[str, ...]


def cases(page: Path = PAGE) -> list[Case]:
    found = []
    for line in page.read_text().splitlines():
        if not re.match(r"\| \d", line):
            continue
        what, here, shown_by = (cell.strip() for cell in line.strip("|").split("|"))
        spans = re.findall(r"`([^`]+)`", shown_by)
        tests: list[Selection] = []
        commands = []
        for span in spans:
            if span.startswith("python "):
                commands.append(span)
            elif span.endswith(".py"):
                tests.append(Selection(span, ()))
            else:
                tests[-1] = tests[-1]._replace(words=tuple(span.split(" or ")))
        found.append(Case(what, here, tuple(tests), tuple(commands)))
    return found


def names_in(file: str) -> list[str]:
    tree = ast.parse((ROOT / file).read_text())
    return [n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]


def outcomes(report: Path) -> list[tuple[str, str, str]]:
    """Of a JUnit report (file, name of the test, passed | failed | skipped)."""
    found = []
    for test in ET.parse(report).iter("testcase"):
        kinds = {child.tag for child in test}
        what = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        found.append((test.get("classname", "").replace(".", "/") + ".py", test.get("name", ""), what))
    return found


def verdict(case: Case, found: list[tuple[str, str, str]]) -> tuple[str, Counter[str]]:
    """(right | WRONG | not tried, tests by what became of them)."""
    of_selection = [[what for file, name, what in found if s.holds(file, name)] for s in case.tests]
    all_ = Counter(what for said in of_selection for what in said)
    if all_["failed"]:
        return "WRONG", all_
    return "right" if of_selection and all("passed" in said for said in of_selection) else "not tried", all_


def main() -> int:
    table = cases()
    nodes = sorted({node for case in table for s in case.tests for node in s.nodes()})
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n0", f"--junitxml={report}", *nodes]
        subprocess.run(command, cwd=ROOT, stdout=sys.stderr)
        found = outcomes(report)
    verdicts = Counter[str]()
    print(f"| case | what happens here | tests passed | verdict |\n|{'---|' * 4}")
    for case in table:
        said, tests = verdict(case, found)
        verdicts[said] += 1
        also = "".join(f"; {command}" for command in case.commands)
        print(f"| {case.what} | {case.here} | {tests['passed']} of {tests.total()}{also} | {said} |")
    print(f"\n{len(table)} rows, {verdicts['WRONG']} wrong, {verdicts['not tried']} not tried", file=sys.stderr)
    return 1 if verdicts["WRONG"] else 0


if __name__ == "__main__":
    sys.exit(main())
