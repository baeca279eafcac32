"""The loop: processes in their order, an integer clock, recorders in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.errors import InputError, InputErrors, ModelError
from tme_sim.state.state import State


class Recorder(Protocol):
    """Something that looks at the state every `every` ticks and does not change it."""

    every: int

    def record(self, state: State, time_s: float) -> None:
        """Take down the state."""


class Simulation:
    """Advance a state. The order of `processes` is the operator splitting; the name of each keys its random streams."""

    def __init__(
        self, state: State, processes: Mapping[str, Process], recorders: Sequence[Recorder], step_s: float, seed: int
    ) -> None:
        self.state, self.processes, self.recorders, self.step_s, self.seed = state, dict(processes), recorders, step_s, seed
        self._every = {
            name: ticks(process.interval_s or step_s, step_s, f"processes.{name}.interval")
            for name, process in self.processes.items()
        }

    @property
    def time_s(self) -> float:
        """Time of the present tick."""
        return self.state.tick * self.step_s

    def step(self) -> None:
        """One tick: every process that is due acts over its whole interval."""
        state = self.state
        for name, process in self.processes.items():
            every = self._every[name]
            if state.tick % every == 0:
                view = StateView(state, process.reads, process.writes, self.time_s)
                with self._told(name):
                    process.step(view, every * self.step_s, Streams(self.seed, name, state.tick))
        state.tick += 1

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """What numerics refuse, such as a rate that is not finite, is told with the process and the time."""
        try:
            yield
        except (InputError, InputErrors):
            raise
        except (ValueError, ArithmeticError) as error:
            raise ModelError(f"{name} at {self.time_s:g} s: {error}") from error

    def run(self, until_s: float, stop: Callable[[], bool] = lambda: False) -> bool:
        """Step until the given time; False if `stop` asked for an end between two steps."""
        last = ticks(until_s, self.step_s, "protocol.duration")
        if self.state.tick == 0:
            self._record()
        while self.state.tick < last:
            if stop():
                return False
            self.step()
            self._record()
        return True

    def _record(self) -> None:
        for recorder in self.recorders:
            if self.state.tick % recorder.every == 0:
                recorder.record(self.state, self.time_s)


def ticks(time_s: float, step_s: float, field: str) -> int:
    """Number of steps in a time; InputError if it is not a whole multiple of the step."""
    n = round(time_s / step_s)
    if n < 1 or abs(n * step_s - time_s) > 1e-6 * step_s:
        raise InputError(field, f"{time_s:g} s", f"must be a whole multiple of the step, {step_s:g} s")
    return n
