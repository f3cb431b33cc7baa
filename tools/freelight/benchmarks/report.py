"""The result of a benchmark: contenders, figures and floors, as a table and as a JSON record."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from freelight.benchmarks.timing import Lap, Timings
from freelight.benchmarks.typed import as_typed, path_as_typed
from freelight.shards.base import atomic_write, format_table


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured number with its unit ("x": a ratio). If `value` is None, `because` is the reason."""

    name: str
    value: float | None
    unit: str = "x"
    because: str | None = None

    def __post_init__(self) -> None:
        if self.value is None and not self.because:
            raise ValueError(f"{self.name!r} has no value, and no reason why")

    @property
    def measured(self) -> str:
        """The number as text."""
        return "-" if self.value is None else _number(self.value, self.unit)


@dataclass(frozen=True, kw_only=True)
class Floor(Figure):
    """A figure with a lower or an upper bound. A figure outside its bound fails the benchmark."""

    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"floor {self.name!r} must have either `at_least` or `at_most`")

    @property
    def met(self) -> bool | None:
        """Whether the figure is within its bound; None if it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.at_least if self.at_least is not None else self.value <= (self.at_most or 0)

    @property
    def bound(self) -> str:
        """The bound as text."""
        if self.at_least is not None:
            return f">= {_number(self.at_least, self.unit)}"
        return f"<= {_number(self.at_most or 0, self.unit)}"

    @property
    def verdict(self) -> str:
        """ "met", "MISSED", or the reason why the floor was not checked."""
        return {True: "met", False: "MISSED", None: f"not checked: {self.because}"}[self.met]


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole result of a benchmark.

    item: what the rates count, "images". settings: the options of the run. tables: text to print as it is.
    """

    benchmark: str
    item: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    timings: Timings
    floors: tuple[Floor, ...]
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    @property
    def missed(self) -> tuple[Floor, ...]:
        """The floors that were missed."""
        return tuple(floor for floor in self.floors if floor.met is False)

    @property
    def exit_code(self) -> int:
        """1 when a floor was missed, else 0."""
        return 1 if self.missed else 0

    def table(self) -> str:
        """Return the whole result as text, the verdict last."""
        machine = self.machine
        versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        rounds = max(map(len, self.timings.laps.values()))
        floors = [(floor.name, floor.measured, floor.bound, floor.verdict) for floor in self.floors]
        figures = [(figure.name, figure.measured, figure.because or "") for figure in self.figures]
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items() if value is not None)
        parts = [
            f"benchmark {self.benchmark}: {settings}",
            *([f"{machine['gpu']}, {machine['gpu_memory_gb']} GB"] if "gpu" in machine else []),
            f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB; Python {machine['python']}, "
            f"{versions}; revision {machine['revision']}; {machine['date']}",
            self._other_work(),
            *self.notes,
            f"{rounds} interleaved rounds after a warm-up; medians; ratios are medians of each round's own",
            "",
            self._contender_table(),
            *(["", format_table(("figure", "measured", ""), figures)] if figures else []),
            *(["", format_table(("floor", "measured", "bound", ""), floors)] if floors else []),
            *(line for table in self.tables for line in ("", table)),
            "",
            self._last_line(),
        ]
        return "\n".join(parts)

    def _other_work(self) -> str:
        machine = self.machine
        before, after = machine["other_work_percent"]
        line = (
            f"load {machine['load_average']} at the start, {machine['load_average_at_end']} at the end; other work "
            f"used {before:.0f} % of the cores before, {after:.0f} % after"
        )
        return f"{line}: A BUSY MACHINE, measure again on an idle one" if machine["busy"] else line

    def _contender_table(self) -> str:
        """Return the rates. If a GPU computed, also the times per batch: on the device, of the host, and its wait."""
        timings = self.timings
        on_gpu = any(lap.device_ms is not None for laps in timings.laps.values() for lap in laps)
        times = ("device ms", "host ms", "wait ms") if on_gpu else ()
        heads = ("contender", f"{self.item}/s", "least", "most", *times, self.item, "")
        rows: list[tuple[str, ...]] = []
        for contender in timings.contenders:
            laps = timings.laps[contender.name]
            if not laps:
                rows.append((contender.name, *("-",) * (len(heads) - 2), f"absent: {contender.absent}"))
                continue
            rates = [lap.rate for lap in laps]
            numbers = [f"{rate:.1f}" for rate in (median(rates), min(rates), max(rates))]
            if on_gpu:
                numbers += [_median_ms(lap.device_ms for lap in laps), _median_ms(lap.host_ms for lap in laps)]
                numbers.append(_median_ms(lap.wait_ms for lap in laps))
            own = ", ".join(f"{name} {version}" for name, version in contender.versions.items())
            rows.append((contender.name, *numbers, str(laps[-1].items), own))
        return format_table(heads, rows)

    def _last_line(self) -> str:
        unchecked = sum(floor.met is None for floor in self.floors)
        aside = f" ({unchecked} not checked)" if unchecked else ""
        if self.missed:
            names = "; ".join(f"{floor.name}: {floor.measured}, not {floor.bound}" for floor in self.missed)
            return f"{len(self.missed)} of {len(self.floors)} floors missed{aside}: {names}"
        return f"no floor missed of {len(self.floors)}{aside}"

    def record(self) -> dict[str, Any]:
        """Return the whole result as plain data for JSON. A missing value is null and has a reason."""
        record = {
            "benchmark": self.benchmark,
            "command": as_typed(sys.argv),
            "settings": {name: _named(value) for name, value in self.settings.items()},
            "machine": self.machine,
            "notes": self.notes,
            "item": self.item,
            "contenders": [
                {
                    "name": contender.name,
                    "absent": contender.absent,
                    "versions": contender.versions,
                    "laps": [_lap_record(lap) for lap in self.timings.laps[contender.name]],
                    "median_rate": self.timings.rate(contender.name),
                }
                for contender in self.timings.contenders
            ],
            "figures": [asdict(figure) for figure in self.figures],
            "floors": [{**asdict(floor), "met": floor.met} for floor in self.floors],
            "tables": self.tables,
            "exit_code": self.exit_code,
        }
        plain: dict[str, Any] = json.loads(json.dumps(record, allow_nan=False, default=str))
        return plain

    def save(self, path: Path) -> None:
        """Write the record to `path`, atomically."""
        with atomic_write(path) as file:
            file.write(json.dumps(self.record(), indent=1).encode() + b"\n")


def _lap_record(lap: Lap) -> dict[str, float]:
    """Return a lap as plain data, without the times of a GPU if none computed."""
    return {name: value for name, value in asdict(lap).items() if value is not None}


def _median_ms(times: Iterable[float | None]) -> str:
    measured = [time for time in times if time is not None]
    return f"{median(measured):.3f}" if measured else "-"


def _named(setting: Any) -> Any:
    return path_as_typed(str(setting)) if isinstance(setting, Path) else setting


def _number(value: float, unit: str) -> str:
    if unit == "x":
        return f"{value:.3f}x"
    return f"{value:.2f} ms" if unit == "ms" else f"{value:.1f} {unit}"
