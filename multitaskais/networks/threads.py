"""One BLAS thread for a while: the products of a step are too small to share, and the processor has other work."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from threadpoolctl import ThreadpoolController


class OneThread:
    """``with one_thread(): ...``; what is computed does not depend on it."""

    def __init__(self) -> None:
        self._blas = ThreadpoolController()
        self._libraries = [library for library in self._blas.lib_controllers if library.user_api == "blas"]

    def __call__(self) -> AbstractContextManager[object]:
        """To set the number costs as much as a vessel-step, to ask for it nearly nothing."""
        if all(library.num_threads == 1 for library in self._libraries):
            return nullcontext()
        limited: AbstractContextManager[object] = self._blas.limit(limits=1, user_api="blas")
        return limited
