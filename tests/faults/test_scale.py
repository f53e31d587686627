"""Many units: the driver's memory must hardly grow with the number of units that are done."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.noop import measure

MIB = 64  # for 100,000 units; their keys alone take a tenth of that
READING = 192  # more once records are gathered: Arrow's Parquet code and its buffers, listings of 100,000 names


@pytest.mark.parametrize("units", [10_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_units_that_do_nothing(units: int) -> None:
    found = measure(units, 2, "")
    print(found)
    assert found["growth_mib"] < MIB


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "units", [2_000, pytest.param(10_000, marks=pytest.mark.long), pytest.param(100_000, marks=pytest.mark.long)]
)
def test_units_that_commit_nothing(units: int, tmp_path: Path) -> None:
    found = measure(units, 2, str(tmp_path))
    print(found)
    assert found["growth_mib"] < MIB + READING
    assert found["resume_manifest_growth_mib"] < MIB + READING
    assert found["resume_records_growth_mib"] < MIB + READING
