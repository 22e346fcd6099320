"""Slurm: when the job ends, from its environment or from who knows it."""

from pathlib import Path

from ood_runtime.allocation import Allocation
from ood_runtime.launchers.slurm import LAUNCHER
from ood_runtime.settings import Settings
from tests.unit.launcher_jobs import with_program

JOB = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "node01", "SLURMD_NODENAME": "node01"}


def test_the_end_of_the_wall_time(tmp_path: Path) -> None:
    def allocate(**env: str) -> Allocation:
        return LAUNCHER.allocation({**JOB, **env}, tmp_path, Settings())

    path = with_program(tmp_path / "bin", "squeue")
    told = allocate(PATH=path, SLURM_JOB_END_TIME="1790000000")
    assert (told.ends_at, told.ask_end) == (1790000000.0, ())
    asked = allocate(PATH=path)
    assert (asked.ends_at, asked.ask_end[2:5]) == (None, (f"{path}/squeue", "--noheader", "--jobs=77"))
    assert allocate(PATH="/nowhere").ask_end == ()
