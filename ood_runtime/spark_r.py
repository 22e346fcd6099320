"""The R side of the Spark part: what makes SparkR and sparklyr drivers of this session's cluster (paper, section 4.2).

Whatever R is started, it reads the session's profile, which has all of it: in RStudio, in a terminal, in a notebook.
"""

import shlex

from ood_runtime import class_data, spark_connect, spark_jvm
from ood_runtime.context import Context
from ood_runtime.plan import File, Part
from ood_runtime.render import render
from ood_runtime.session_kernels import static
from ood_runtime.spark_properties import has_hive, master_url, spark_software

# sparklyr's gateway would else be at 8880 for everybody on the node, and whoever is there first is asked.
PORT = "sparklyr"
PROFILE = "spark/Rprofile.R"
_SPARKLYR = "spark/sparklyr.yml"
_KERNEL = "sparkr_kernel.sh"


def r_sessions(context: Context) -> Part:
    """The profile of R, and what sparklyr reads. No secret is in them: they name the file that has it."""
    profile = render(
        "spark_rprofile.R.j2",
        environment=_drivers(context),
        site_profile=context.environment.get("R_PROFILE"),
        master=master_url(context),
        shared=spark_connect.access(context),
    )
    sparklyr = render(
        "sparklyr.yml.j2",
        master=master_url(context),
        properties_file=str(spark_jvm.properties_path(context)),
        gateway_port=context.grant.ports[PORT],
        hive=has_hive(context),
    )
    return Part(files=(File(PROFILE, profile), File(_SPARKLYR, sparklyr)))


def notebook_kernel(context: Context) -> Part:
    """The kernel SparkR, where this Spark has it: an R notebook whose session is there in its first cell."""
    if not spark_software(context).spark.has_sparkr:
        return Part()
    return Part(files=(*static("sparkr"), File(_KERNEL, render("sparkr_kernel.sh.j2"), executable=True)))


def environment(context: Context) -> dict[str, str]:
    """With which every R reads the session's profile, after that of the site; and a kernelspec finds its script."""
    private = context.directories.private
    kernel = {"OOD_RUNTIME_SPARKR_KERNEL": str(private / _KERNEL)} if spark_software(context).spark.has_sparkr else {}
    return {"R_PROFILE": str(private / PROFILE), **kernel}


def _drivers(context: Context) -> dict[str, str]:
    """What SparkR and sparklyr look at, and the JVM that they start with spark-submit."""
    # SparkR joins the words with others and gives them to a shell; the last one has to be this.
    submit = shlex.join(["--properties-file", str(spark_jvm.properties_path(context)), "sparkr-shell"])
    own = context.environment.get("SPARK_LAUNCHER_OPTS")
    return {
        **spark_jvm.environment(context),
        # Of a JVM before theirs, which only puts the command together: it would leave a directory in the node's /tmp.
        "SPARK_LAUNCHER_OPTS": " ".join(filter(None, (own, *class_data.temporary_options(None)))),
        "SPARKR_SUBMIT_ARGS": submit,
        "SPARKLYR_CONFIG_FILE": str(context.directories.private / _SPARKLYR),
    }
