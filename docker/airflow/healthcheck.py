"""Exit code 0 when Airflow's database, scheduler and DAG processor are healthy: ``healthcheck.py [PORT]``, default AIRFLOW_PORT or 18080."""

import json
import os
import sys
import urllib.request

PARTS = ("metadatabase", "scheduler", "dag_processor")


def healthy(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/monitor/health", timeout=10) as answer:
            said = json.load(answer)
        return all(said[name]["status"] == "healthy" for name in PARTS)
    except (OSError, ValueError, KeyError, TypeError):
        return False


if __name__ == "__main__":
    sys.exit(not healthy(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("AIRFLOW_PORT", "18080")))
