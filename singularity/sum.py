"""Computes a sum in the PySpark kernel of a session that is ready: SESSION_DIRECTORY."""

import os
import sys
from pathlib import Path

from jupyter_client.manager import KernelManager

ASKED, WANTED = "print(sc.parallelize(range(1000), 4).sum())", "499500"
SECONDS = 180

private = Path(sys.argv[1]) / "ood-runtime"
os.environ["JUPYTER_PATH"] = str(private / "jupyter")
os.environ["OOD_RUNTIME_PYSPARK_KERNEL"] = str(private / "pyspark_kernel.sh")

manager = KernelManager(kernel_name="pyspark", transport="ipc")
manager.start_kernel()
client = manager.client()
client.start_channels()
said: list[str] = []
try:
    client.wait_for_ready(timeout=SECONDS)
    reply = client.execute_interactive(
        ASKED, timeout=SECONDS, output_hook=lambda message: said.append(str(message["content"]))
    )
finally:
    client.stop_channels()
    manager.shutdown_kernel()
if reply["content"]["status"] != "ok" or not any(WANTED in words for words in said):
    sys.exit(f"the sum is not {WANTED}: {said}")
sys.stdout.write(f"the PySpark kernel computed {WANTED} on the workers\n")
