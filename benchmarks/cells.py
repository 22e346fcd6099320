"""What a person does in a notebook, timed: the first result of ``sc``, and jobs that keep the CPUs busy."""

import re
import time

from benchmarks.programs import Started
from tests.support.jupyter import JupyterClient, log_in

FIRST = "sc.parallelize(range(1000)).sum()"
FIRST_RESULT = "499500"
_RUN_WITHIN = 300.0

# Both take about six seconds on two cores: long enough that the 10 to 30 ms which a job costs by itself do not count.
JOBS = {
    "python": "sc.parallelize(range({python}), {cores}).map(spin).sum()",
    "jvm": "spark.range(0, {jvm}, 1, {cores}).selectExpr('sum(id % 1000 * id % 7)').collect()",
}
_SIZES = {"python": 1_200_000, "jvm": 4_800_000_000}
_DEFINITIONS = """
import time
def spin(number):
    for _ in range(200):
        number = (number * 1103515245 + 12345) & 0x7FFFFFFF
    return number
"""


class Notebook:
    """One kernel, through the server's own interface, as a browser uses it; end it when done."""

    def __init__(self, server: Started, kernel: str, cell: str = FIRST, result: str = FIRST_RESULT) -> None:
        self._client: JupyterClient = log_in(server.connection)
        begin = time.monotonic()
        self._kernel = self._client.start_kernel(kernel)
        output = self._run(cell)
        self.first_seconds = time.monotonic() - begin
        if result not in output:
            raise RuntimeError(f"{cell} gave {output!r}")

    def prepare(self) -> None:
        """Define what the jobs need."""
        self._run(_DEFINITIONS)

    def job(self, name: str, cores: int) -> float:
        """Run one job of JOBS on all ``cores``; seconds, as the kernel measures them."""
        code = JOBS[name].format(**_SIZES, cores=cores)
        output = self._run(f"begin = time.perf_counter(); _ = {code}; print('took', time.perf_counter() - begin)")
        took = re.search(r"took ([\d.]+)", output)
        if not took:
            raise RuntimeError(f"{code} printed {output!r}")
        return float(took[1])

    def end(self) -> None:
        """End the kernel, and with it the Spark application."""
        self._client.end_kernel(self._kernel)
        self._client.close()

    def _run(self, code: str) -> str:
        return self._client.run(self._kernel, code, within=_RUN_WITHIN)
