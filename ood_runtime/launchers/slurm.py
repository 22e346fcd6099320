"""Slurm: one srun starts the workers of all other nodes.

Facts are from srun(1) and the source of Slurm 20.11 to 25.05, and measured on 22.05. Before 20.11 srun has no
--overlap, without which a user's own steps and ours would wait for each other.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from signal import Signals

from ood_runtime import launcher_programs, own_node, slurm_job
from ood_runtime.allocation import Allocation, Launch, Node, Task
from ood_runtime.errors import SettingsError
from ood_runtime.settings import Settings

# For every component of the step.
_OPTIONS = (
    "--overlap",  # users' own steps run beside this one, also those without it
    "--mem=0",  # all that the job has on the node, and taken from nobody
    "--export=ALL",  # Open OnDemand submits with --export=NONE, which its steps would inherit
    "--no-kill",  # a lost node ends neither the step
    "--kill-on-bad-exit=0",  # nor does a worker that fails,
    "--wait=0",  # nor one that ends before the others, whatever the site's WaitTime is
    "--input=none",
    "--chdir=/",  # is on every node
    "--distribution=block",
    "--cpu-bind=none",
    "--mpi=none",
    "--job-name=spark-workers",
    "--disable-status",  # passes SIGINT on at once; at SIGTERM srun has the workers killed, and their files stay
)

# What a job inherits from its own options, or users set for their own steps, and would change this one: it would
# ask for more than the nodes have (per task, per GPU), less than all of a node (--exact, which -c and --hint
# imply), end too soon (-t, -I), contradict the options above (srun -v -Q, --ntasks-per-gpu), or hide the
# environment from programs that call srun themselves.
_IN_THE_WAY = re.compile(
    r"(SLURM_(EXPORT_ENV|CPUS_PER_TASK|CPUS_PER_GPU|TRES_PER_TASK|TRES_BIND|THREADS_PER_CORE|HINT|EXACT|EXCLUSIVE"
    r"|NTASKS|NPROCS|NTASKS_PER_(NODE|CORE|SOCKET|GPU|TRES)|NSOCKETS_PER_NODE|NCORES_PER_SOCKET|DISTRIBUTION"
    r"|DIST_PLANESIZE|HOSTFILE|CPU_BIND\w*|MEM_BIND\w*|GPUS|GPUS_PER_(NODE|SOCKET|TASK)|GPU_BIND|GPU_FREQ|GRES"
    r"|STEP_GRES|OVERCOMMIT|TIMELIMIT|IMMEDIATE|WAIT|NO_KILL|KILL_BAD_EXIT|SRUN_MULTI|BCAST|RESV_PORTS|SIGNAL"
    r"|MPI_TYPE|LABELIO|STD(IN|OUT|ERR)MODE|WORKING_DIR|REMOTE_CWD|SPREAD_JOB|USE_MIN_NODES|CONSTRAINT|DEBUG)"
    r"|SRUN_(EXPORT_ENV|CPUS_PER_TASK|INPUT|OUTPUT|ERROR))((_HET|_PACK)_GROUP_\d+)?"
)


class Slurm:
    """A job of Slurm, heterogeneous ones too."""

    name = "slurm"

    def detect(self, environment: Mapping[str, str]) -> bool:
        """Slurm gives every job and step SLURM_JOB_ID."""
        return bool(environment.get("SLURM_JOB_ID"))

    def allocation(self, environment: Mapping[str, str], directory: Path, settings: Settings) -> Allocation:
        """The job's nodes, that of the batch script first; the current directory is the job's own.

        SLURM_SUBMIT_DIR is where sbatch was called, which is the portal's directory.
        """
        told, own = slurm_job.all_nodes(environment)
        return Allocation(
            launcher=self.name,
            job_id=slurm_job.job_id(environment),
            nodes=own_node.nodes(told, own, tells_memory=True),
            directory=directory,
            ends_at=slurm_job.ends_at(environment),
            ask_end=_ask_end(environment),
            keeper="slurmstepd",
            environment=_for_users(environment),
        )

    def commands(
        self, allocation: Allocation, script: Path, tasks: Sequence[Task], environment: Mapping[str, str]
    ) -> tuple[Launch, ...]:
        """One srun, whatever the number of nodes; each component of a heterogeneous job is a component of its step.

        A task's rank is its place in the step (SLURM_PROCID, which counts over all components) after the first one.
        """
        if not tasks:
            return ()
        srun = launcher_programs.find(
            "srun", environment, (), "load the site's Slurm module, or add the directory of Slurm's programs to PATH"
        )
        ranks = tuple(task.rank for task in tasks)
        if ranks != tuple(range(ranks[0], ranks[0] + len(ranks))):
            raise ValueError(f"the ranks of one step follow each other, but these are {ranks}")
        rank = 'exec /bin/sh "$0" "$((SLURM_PROCID + ' + str(ranks[0]) + '))"'
        program = ("/bin/sh", "-c", rank, str(script))
        argv: list[str] = []
        for options in _steps(allocation, tasks, environment):
            argv += [*([":"] if argv else []), *_OPTIONS, *options, *program]
        removed: dict[str, str | None] = {name: None for name in sorted(environment) if _IN_THE_WAY.fullmatch(name)}
        return (Launch(argv=(srun, *argv), ranks=ranks, environment=removed, stop_signal=Signals.SIGINT),)


def _ask_end(environment: Mapping[str, str]) -> tuple[str, ...]:
    """What asks the controller for the end of the job, where an old Slurm's environment does not tell it."""
    squeue = shutil.which("squeue", path=environment.get("PATH"))
    if slurm_job.ends_at(environment) or not squeue:
        return ()
    job = f"--jobs={slurm_job.job_id(environment)}"
    return ("/usr/bin/env", "SLURM_TIME_FORMAT=%s", os.path.abspath(squeue), "--noheader", job, "--format=%e")  # noqa: PTH100


def _for_users(environment: Mapping[str, str]) -> dict[str, str]:
    """What lets srun and mpiexec work in a notebook: beside the workers, and with the notebook's own environment.

    Open OnDemand submits with --export=NONE, which leaves the job's steps without a PATH.
    """
    everything = {"SLURM_EXPORT_ENV": "ALL"} if environment.get("SLURM_EXPORT_ENV") == "NONE" else {}
    return {"SLURM_OVERLAP": "1", **everything}


def _steps(allocation: Allocation, tasks: Sequence[Task], environment: Mapping[str, str]) -> Iterator[list[str]]:
    """What to ask of each component: its nodes among those of the tasks, and equally many tasks on each."""
    wanted = {allocation.nodes[task.node].host: allocation.nodes[task.node] for task in tasks}
    per_node, left_over = divmod(len(tasks), len(wanted))
    if left_over:
        raise ValueError(f"{len(tasks)} tasks cannot be spread evenly over {len(wanted)} nodes")
    components = slurm_job.components(environment)
    for index, component in enumerate(components):
        nodes = [wanted.pop(told.host) for told in component if told.host in wanted]
        if nodes:
            group = [f"--het-group={index}"] if len(components) > 1 else []
            yield [*group, *_geometry(nodes, per_node), *_gpus(nodes, allocation, environment)]
    if wanted:
        raise SettingsError(
            f"Slurm's variables name other nodes than before: {', '.join(wanted)} cannot be found in them any more",
            remedy="do not change Slurm's variables in the job script",
        )


def _geometry(nodes: Sequence[Node], per_node: int) -> list[str]:
    return [
        f"--nodes={len(nodes)}",
        f"--nodelist={','.join(node.host for node in nodes)}",
        f"--ntasks={len(nodes) * per_node}",
        f"--ntasks-per-node={per_node}",
        # Without it each task wants a processor of its own.
        *(["--overcommit"] if per_node > min(node.cpus for node in nodes) else []),
    ]


def _gpus(nodes: Sequence[Node], allocation: Allocation, environment: Mapping[str, str]) -> list[str]:
    """A step gets what the job asked for, unless told otherwise: all GPUs of the job, on a part of its nodes.

    That can never run where GPUs were asked for as a total or per task (step_mgr.c: _copy_job_tres_to_step).
    """
    if not slurm_job.gpus_are_the_jobs(environment):
        return []
    least = min(node.gpus for node in nodes)
    return [f"--gres=gpu:{least}" if least else "--gres=none"]


LAUNCHER = Slurm()
