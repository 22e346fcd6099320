"""The environment of the job, for other nodes: what every shell reads back, and what stays behind."""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ood_runtime.spark_worker_script import environment_file
from tests.support.needs import need

VALUES = st.binary(max_size=30).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))


def read_back(job: Mapping[str, str], shell: str, task: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a program gets from a shell that has read the file, in a task with some variables of its own."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "environment.sh"
        path.write_bytes(environment_file(job))
        command = [need(shell), "-u", "-c", '. "$0" && exec /usr/bin/env -0', str(path)]
        output = subprocess.run(command, env=dict(task or {}), capture_output=True, check=True).stdout
    pairs = (os.fsdecode(line).split("=", 1) for line in output.split(b"\0")[:-1])
    return {name: value for name, value in pairs if name not in ("PWD", "SHLVL", "_", "OLDPWD")}


@pytest.mark.parametrize("shell", ["dash", "bash"])
@settings(max_examples=15)
@given(st.dictionaries(st.sampled_from(["A", "b", "port", "X_1", "LD_LIBRARY_PATH"]), VALUES))
@example({"A": "'\"$(id)`id`\\\n\n", "b": "\udcff", "port": " ", "X_1": "", "LD_LIBRARY_PATH": "!*?[~"})
def test_a_shell_reads_it_back(shell: str, job: dict[str, str]) -> None:
    assert read_back(job, shell) == job


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_what_a_task_was_told_by_its_scheduler_stays(shell: str) -> None:
    job = {"SLURM_JOB_ID": "1", "SLURM_JOB_PARTITION": "p", "PBS_O_WORKDIR": "/w", "MINE": "new"}
    task = {"SLURM_JOB_ID": "own", "PBS_O_WORKDIR": "", "MINE": "old"}
    expected = {"SLURM_JOB_ID": "own", "SLURM_JOB_PARTITION": "p", "PBS_O_WORKDIR": "/w", "MINE": "new"}
    assert read_back(job, shell, task) == expected


LEFT = """HOSTNAME HOST PWD OLDPWD SHLVL _ TMPDIR TMP TEMP DISPLAY XAUTHORITY SSH_AUTH_SOCK SSH_CONNECTION TMUX
XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS SLURM_PROCID SLURM_NODEID SLURM_LOCALID SLURM_CPUS_ON_NODE SLURM_STEP_ID
SLURM_STEP_GPUS SLURM_STEP_NODELIST SLURMD_NODENAME SLURM_SRUN_COMM_PORT SLURM_CPU_BIND_LIST SLURM_TMPDIR PBS_NODENUM
SLURM_EXPORT_ENV PBS_TASKNUM PBS_JOBCOOKIE PBS_MOMPORT PBS_NODEFILE NCPUS LSB_DJOB_HOSTFILE LS_JOBPID PE_HOSTFILE NSLOTS
PMI_RANK PMI2_x PMIX_RANK OMPI_COMM_WORLD_RANK CUDA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES SPARK_LOCAL_IP SPARK_LOCAL_DIRS
SPARK_PUBLIC_DNS OOD_RUNTIME_SESSION IFS PPID UID EUID SHELLOPTS BASHOPTS OPTIND BASH_VERSINFO"""
KEPT = """PATH LD_LIBRARY_PATH CONDA_PREFIX LOADEDMODULES MODULEPATH BASH_ENV PYTHONPATH OMP_NUM_THREADS HOME USER LANG
SLURM_JOB_ID SLURM_JOB_NODELIST PBS_JOBID PBS_O_WORKDIR LSB_JOBID JOB_ID SPARK_HOME TMPDIRS HOSTNAMES HTTP_PROXY"""


def test_what_belongs_to_a_node_or_a_step_is_left_out() -> None:
    text = environment_file({name: "v" for name in f"{LEFT} {KEPT}".split()}).decode()
    exported = {word.removesuffix("=v") for word in text.split() if word.endswith("=v")}
    assert exported == set(KEPT.split())


@pytest.mark.parametrize("name", ["BASH_FUNC_module%%", "A.B", "A-B", "1A", "", "A B", "A\nB", "ä"])
def test_what_no_shell_can_take_is_left_out(name: str) -> None:
    assert b"export" not in environment_file({name: "() {  :\n}"})


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("FILE:/home/alice/.krb5cc", True),
        ("/home/alice/.krb5cc", True),
        ("FILE:/tmp/krb5cc_1000_x", False),
        ("/tmp/krb5cc_1000", False),
        ("DIR:/run/user/1000/krb5cc", False),
        ("DIR::/run/user/1000/krb5cc/tkt", False),
        ("KEYRING:persistent:1000", False),
        ("KCM:", False),
    ],
)
def test_kerberos_tickets_that_only_this_node_has(value: str, kept: bool) -> None:
    assert (b"export KRB5CCNAME=" in environment_file({"KRB5CCNAME": value})) is kept
