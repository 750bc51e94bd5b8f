"""What every command of the package has alike: its help shows an example and its exit codes, wrong use is one line."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

EXIT_CODES = (
    "exit codes: 0 done, 2 wrong use or wrong input (one line says what to do), 75 try again (a broker or a store does not answer),"
    "\n130 interrupted"
)


class CommandParser(argparse.ArgumentParser):
    """``epilog`` is the example, and keeps its lines; ``exit_codes`` where a command has others than ``EXIT_CODES``."""

    def __init__(self, *args: Any, exit_codes: str = EXIT_CODES, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._exit_codes = exit_codes

    def format_help(self) -> str:
        example, self.epilog = self.epilog, None
        try:
            text = super().format_help()
        finally:
            self.epilog = example
        return "\n".join(filter(None, [text, example and example.strip() + "\n", self._exit_codes + "\n"]))

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` shows more\n")
