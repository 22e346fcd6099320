"""What Spark is told to write down of applications, and to tell of itself meanwhile: event logs and metrics."""

from pathlib import Path

from ood_runtime.settings.model import Spark
from ood_runtime.settings.sizes import MIB

EVENT_LOGS = "spark-events"

# MiB: the smallest file that Spark takes, and the one that it makes by itself.
_SMALLEST, _USUAL = 10, 128


def event_logs(session: Path) -> Path:
    """Where the event logs of the session in the directory ``session`` are."""
    return session / EVENT_LOGS


def properties(settings: Spark, session: Path) -> dict[str, str]:
    """The entries for event logs and metrics that ``settings`` ask for; none for what they do not.

    A site's own entries for event logs, in its spark-defaults.conf, hold as long as ours are not asked for.
    """
    return {
        **(_event_log_properties(settings, session) if settings.event_logs.enabled else {}),
        **(_METRICS if settings.prometheus else {}),
    }


def _event_log_properties(settings: Spark, session: Path) -> dict[str, str]:
    file_size = min(_USUAL, max(_SMALLEST, settings.event_logs.limit // MIB // 6))
    return {
        "spark.eventLog.enabled": "true",
        # As a URI, since Spark takes a path with # or % for one.
        "spark.eventLog.dir": event_logs(session).as_uri(),
        # In pieces, so that there is something to remove; as Spark 4 has it, and Spark 3.5 has not.
        "spark.eventLog.rolling.enabled": "true",
        "spark.eventLog.rolling.maxFileSize": f"{file_size}m",
        "spark.eventLog.compress": "true",
        "spark.eventLog.compression.codec": "zstd",
    }


# Spark's own servlets for Prometheus, behind the filter of the web interfaces like all their pages.
_SERVLET = "org.apache.spark.metrics.sink.PrometheusServlet"
_METRICS = {
    "spark.metrics.conf.*.sink.prometheusServlet.class": _SERVLET,
    "spark.metrics.conf.*.sink.prometheusServlet.path": "/metrics/prometheus",
    "spark.metrics.conf.master.sink.prometheusServlet.path": "/metrics/master/prometheus",
    "spark.metrics.conf.applications.sink.prometheusServlet.path": "/metrics/applications/prometheus",
    # Not the identifier of the application, which would give the metrics of each one names of their own.
    "spark.metrics.namespace": "spark",
    "spark.ui.prometheus.enabled": "true",
}
