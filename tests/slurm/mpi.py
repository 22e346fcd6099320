"""The only place for MPI programs that tests start from a session, on two nodes with two tasks each."""

import subprocess

from tests.slurm.cluster import Cluster
from tests.support.needs import missing, need

PYTHON = "/usr/bin/python3"  # Debian's mpi4py belongs to it
TASKS = ("--nodes=2", "--ntasks-per-node=2")
HELLO_PYTHON = """import socket
from mpi4py import MPI
world = MPI.COMM_WORLD
print("rank", world.rank, "of", world.size, socket.gethostname(), "sum", world.allreduce(world.rank), flush=True)
"""
HELLO_R = """library(Rmpi)
rank <- mpi.comm.rank(0)
total <- mpi.allreduce(rank, type = 1, op = "sum", comm = 0)
cat(paste("rank", rank, "of", mpi.comm.size(0), Sys.info()[["nodename"]], "sum", paste0(total, "\\n")))
invisible(mpi.quit())
"""
HELLOS = {"hello.py": HELLO_PYTHON, "hello.R": HELLO_R}
SPAWNS = "OMPI_MCA_rmaps_base_oversubscribe=1"
SRUN = "srun --overlap --export=ALL --mpi=pmix"
SRUN_BY_VARIABLES = "srun --mpi=pmix"  # those that a session sets
MPIEXEC = "mpiexec"


def need_mpi(cluster: Cluster) -> None:
    """Open MPI, Slurm's part of it, and mpi4py."""
    if "pmix" not in cluster.run("srun", "--mpi=list"):
        missing("needs Slurm's PMIx plugin and the library that it loads, libpmix.so")
    if subprocess.run([PYTHON, "-c", "import mpi4py"], check=False, capture_output=True).returncode:
        missing(f"needs mpi4py of {PYTHON}")
    need("mpiexec")


def need_rmpi() -> str:
    """The R of this machine, which must have Rmpi and what that loads."""
    rscript = need("Rscript")
    done = subprocess.run([rscript, "-e", "library(Rmpi)"], check=False, capture_output=True, text=True, cwd="/")
    if done.returncode:
        missing(f"needs Rmpi of {rscript}: {done.stderr.strip()}")
    return rscript


def hosts_of(output: str, size: int) -> list[str]:
    """The nodes of the ranks in their order, each of which has added up all."""
    words = sorted((line.split() for line in output.splitlines()), key=lambda line: int(line[1]))
    assert [line[:4] + line[5:] for line in words] == [
        ["rank", str(rank), "of", str(size), "sum", str(sum(range(size)))] for rank in range(size)
    ], output
    return [line[4] for line in words]
