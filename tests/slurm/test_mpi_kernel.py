"""The kernel Python (MPI): one program of real Open MPI in the cells of a notebook, on two nodes of a real Slurm."""

import json
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, Tracking
from tests.slurm.conftest import assert_nothing_left
from tests.slurm.mpi import TASKS, need_mpi, need_rmpi
from tests.slurm.sessions import start
from tests.support.jupyter import log_in
from tests.support.needs import need_r_package

pytestmark = [pytest.mark.root, pytest.mark.integration]

MPI4PY = Path("/usr/lib/python3/dist-packages/mpi4py")  # Debian's, for the Python that the tests run with
WHERE = """%%px
import socket
from mpi4py import MPI
world = MPI.COMM_WORLD
print("rank", world.rank, "of", world.size, socket.gethostname(), "sum", world.allreduce(world.rank))
"""
# The keys are gone from the disk as soon as everybody has them, and what is said is encrypted with them.
KEYS = """import glob, os
security = os.environ["OOD_RUNTIME_SESSION_DIR"] + "/ood-runtime/mpi/kernel-*/security"
print(len(ranks), glob.glob(security), bool(rc.curve_serverkey))
"""
# Slaves of the R kernel itself, which nobody has started with srun or mpiexec.
SLAVES = """Sys.setenv(OMPI_MCA_rmaps_base_oversubscribe = "1")
library(Rmpi)
mpi.spawn.Rslaves(nslaves = 3, quiet = TRUE)
cat(sort(unique(unlist(mpi.remote.exec(Sys.info()[["nodename"]])))))
invisible(mpi.close.Rslaves())
"""


@pytest.fixture(scope="module")
def tracking() -> Tracking:
    """The harder way: what is started in the background may outlive its job."""
    return "linuxproc"


def test_cells_on_all_nodes(cluster: Cluster) -> None:
    need_mpi(cluster)
    need_rmpi()
    need_r_package("IRkernel")
    packages = cluster.directory / "packages"
    packages.mkdir()
    (packages / "mpi4py").symlink_to(MPI4PY)
    kernel = {"enabled": True, "environment": {"shell": f"export PYTHONPATH={packages}:$PYTHONPATH"}}
    settings = cluster.directory / "mpi.json"
    settings.write_text(json.dumps({"kernels": {"mpi": kernel}}))
    session = start(cluster, "jupyter", "--config", str(settings), options=TASKS)
    connection = session.connection()
    with cluster.network():
        client = log_in(connection)
        notebook = client.start_kernel("python-mpi")
        output = client.run(notebook, WHERE)
        lines = sorted(line for line in output.splitlines() if "rank" in line)
        assert [line.split("rank ")[1] for line in lines] == [
            f"{rank} of 4 node0{1 + rank // 2} sum 6" for rank in range(4)
        ], output
        assert client.run(notebook, KEYS).strip() == "4 [] True"
        client.end_kernel(notebook)
        notebook = client.start_kernel("ir")
        assert client.run(notebook, SLAVES).split()[-2:] == ["node01", "node02"]
        client.end_kernel(notebook)
    cluster.machines.until(lambda: not ranks(cluster), "end of the ranks with the kernel", 20)
    client.close()
    session.job.cancel()
    session.job.wait()
    session.assert_gone()
    assert_nothing_left(cluster)


def ranks(cluster: Cluster) -> list[str]:
    """The ranks and what belongs to them, on all nodes."""
    return [line for here in cluster.left().values() for line in here.values() if "ipyparallel" in line]
