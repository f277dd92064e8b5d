"""What HiGHS is loaded with and listened to through; the runs are in `mocap_opt.solvers.highs`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from mocap_opt.errors import SolverUnavailableError
from mocap_opt.solvers.linear_program import FloatArray
from mocap_opt.solvers.outcome import Callback, Progress
from mocap_opt.solvers.versions import installed_version
from mocap_opt.stopping import signals_wait

PROGRESS_EVERY_S = 0.2
"""Least time between two calls of a progress callback, except at new incumbents."""

OnSolution = Callable[[FloatArray], bool]
"""Called with every better solution; returning True asks HiGHS to stop."""


class HighsError(RuntimeError):
    """A call of HiGHS failed."""


@cache
def load_highspy() -> Any:
    """Import highspy.

    Raises
    ------
    SolverUnavailableError
        If it is missing, or clashes with the installed ortools.
    """
    try:
        with signals_wait():
            import highspy  # noqa: PLC0415 - loaded on first use, so that importing this package stays light
    except ImportError as error:
        found = installed_version("highspy")
        if found is None:
            raise SolverUnavailableError(
                "highspy is not installed: pip install 'highspy>=1.12,<1.14'"
            ) from error
        raise SolverUnavailableError(
            f"highspy {found} cannot be loaded next to ortools {installed_version('ortools')}: {error}. "
            "Both ship a libhighs.so.1, and some pairs of versions cannot share a process: "
            "pip install 'highspy>=1.12,<1.14' 'ortools>=9.15,<9.16'"
        ) from error
    return highspy


class Listener:
    """Collects HiGHS's log, reports progress, and asks HiGHS to stop when told to."""

    def __init__(self, callback: Callback | None, on_solution: OnSolution | None = None) -> None:
        self.callback = callback
        self.on_solution = on_solution
        self.lines: list[str] = []
        self.stop = False
        self.error: BaseException | None = None
        self.last_report = -np.inf

    @property
    def log(self) -> str:
        """Everything HiGHS has said."""
        return "".join(self.lines)

    def attach(self, highs: Any) -> None:
        """Have HiGHS call `listen`."""
        kinds = load_highspy().cb.HighsCallbackType
        self.logging, self.improving = int(kinds.kCallbackLogging), int(kinds.kCallbackMipImprovingSolution)
        check(load_highspy()._Highs.setCallback(highs, self.listen, None), "setCallback")
        # The interrupts are wanted even without a callback: they are where Ctrl-C gets through.
        wanted = [kinds.kCallbackLogging, kinds.kCallbackMipInterrupt, kinds.kCallbackSimplexInterrupt]
        if self.callback is not None or self.on_solution is not None:
            wanted += [kinds.kCallbackMipImprovingSolution, kinds.kCallbackMipLogging]
        for kind in wanted:
            check(highs.startCallback(kind), f"startCallback({kind})")

    def interrupt(self) -> None:
        """Stop, and raise KeyboardInterrupt once HiGHS has returned."""
        self.stop, self.error = True, KeyboardInterrupt()

    def listen(self, kind: int, message: str, out: Any, inputs: Any, _: object) -> None:
        """Serve a callback of HiGHS; an exception must not travel through its C++ frames.

        Parameters
        ----------
        kind : int
            A ``HighsCallbackType``.
        message : str
            A piece of the log.
        out, inputs : HighsCallbackOutput, HighsCallbackInput
            What HiGHS tells, and where it looks for a request to stop; `inputs` may be None.
        _ : object
            User data, unused.
        """
        try:
            if kind == self.logging:
                self.lines.append(message)
                return
            if kind == self.improving and self.on_solution is not None and not self.stop:
                self.stop = self.on_solution(np.array(out.mip_solution, dtype=np.float64))
            due = kind == self.improving or out.running_time - self.last_report >= PROGRESS_EVERY_S
            if due and not self.stop and self.callback is not None:
                self.last_report = out.running_time
                self.stop = self.callback(_progress(out))
        except BaseException as error:
            self.stop, self.error = True, error
        if self.stop and kind != self.improving and inputs is not None:
            inputs.user_interrupt = True


def _progress(out: Any) -> Progress:
    """Read what HiGHS knows at a callback; its infinities mean that it knows nothing."""

    def known(value: float) -> float | None:
        return float(value) if abs(value) < load_highspy().kHighsInf else None

    return Progress(float(out.running_time), known(out.mip_primal_bound), known(out.mip_dual_bound))


def check(status: Any, call: str, *, warnings_are_fine: bool = True) -> None:
    """Raise if a call of HiGHS failed.

    Parameters
    ----------
    status : HighsStatus
        What the call returned.
    call : str
        Its name and whatever helps to find the cause.
    warnings_are_fine : bool
        Whether a warning counts as success.
    """
    kinds = load_highspy().HighsStatus
    if status == kinds.kOk or (status == kinds.kWarning and warnings_are_fine):
        return
    raise HighsError(f"HiGHS returned {status} from {call}")


@contextmanager
def deferred_interrupt(on_interrupt: Callable[[], None]) -> Iterator[None]:
    """Call a function at Ctrl-C instead of raising KeyboardInterrupt.

    Python raises KeyboardInterrupt wherever it next runs, which may be a callback from a solver's
    C++ code, and the exception would then travel through frames that do not expect it.

    Parameters
    ----------
    on_interrupt : callable
        Should ask the solver to stop; the caller raises KeyboardInterrupt afterwards.  Never called
        outside the main thread, where Python delivers no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: on_interrupt())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
