"""Interactive computing inside a batch job: Jupyter and RStudio, with Spark, for Open OnDemand."""

__version__ = "0.1.0"
