"""The depthmask program: recipe, inputs, plan, graph, runner, command line."""

import importlib.util
import sys

# Where google-cloud-storage is, but not what Beam's extra [gcp] brings besides, Beam warns as it is
# imported that BigQuery cannot be had. Where it finds no BigQuery at all, it goes on quietly.
if importlib.util.find_spec("apitools") is None:
    sys.modules.setdefault("apache_beam.io.gcp.bigquery", None)  # type: ignore[arg-type]
