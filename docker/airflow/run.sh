#!/bin/sh
# Airflow with the pipelines as DAGs: API server, scheduler and DAG processor, until Ctrl-C or SIGTERM. It prints address and password.
#
#   AIRFLOW_HOME=... MULTITASKAIS_PYTHON=.../bin/python PATH=AIRFLOW/bin:$PATH sh docker/airflow/run.sh
#
# The API listens on 127.0.0.1:18080 unless AIRFLOW_BIND and AIRFLOW_PORT say otherwise; log servers are not started.
set -eu
: "${AIRFLOW_HOME:?set AIRFLOW_HOME to a folder of its own}"
: "${MULTITASKAIS_PYTHON:?set MULTITASKAIS_PYTHON to the Python of the environment that the product is in}"
bind=${AIRFLOW_BIND:-127.0.0.1}
port=${AIRFLOW_PORT:-18080}
here="http://127.0.0.1:$port"
export AIRFLOW_HOME MULTITASKAIS_PYTHON
export PIPELINE_OUT="${PIPELINE_OUT:-$AIRFLOW_HOME/pipeline}"
export AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__CORE__DAGS_FOLDER="$AIRFLOW_HOME/dags"
export AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION=False AIRFLOW__CORE__PARALLELISM="${AIRFLOW__CORE__PARALLELISM:-2}"
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL="$here/execution/"
export AIRFLOW__API__HOST="$bind" AIRFLOW__API__PORT="$port" AIRFLOW__API__BASE_URL="$here" AIRFLOW__API__WORKERS=1
export AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL=30
# A busy machine answers late; after 5 s, Airflow's own value, a task would fail before it began.
export AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT="${AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT:-60}"

mkdir -p "$AIRFLOW_HOME/logs"
"$MULTITASKAIS_PYTHON" -m multitaskais pipeline dags --out "$AIRFLOW_HOME/dags" > /dev/null
airflow db migrate > "$AIRFLOW_HOME/logs/migrate.log" 2>&1 || { tail -n 3 "$AIRFLOW_HOME/logs/migrate.log" >&2; exit 1; }

pids=
start() {
    name=$1
    shift
    airflow "$@" > "$AIRFLOW_HOME/logs/$name.log" 2>&1 &
    pids="$pids $!"
}
stop() {
    trap - INT TERM
    # shellcheck disable=SC2086  # several numbers
    kill $pids 2> /dev/null || true
    wait
}
trap 'stop; exit 0' INT TERM
start api api-server
start scheduler scheduler --skip-serve-logs
start dags dag-processor

waited=0
until python "$(dirname "$0")/healthcheck.py" "$port"; do
    for pid in $pids; do
        kill -0 "$pid" 2> /dev/null || { echo "Airflow ended; its logs are in $AIRFLOW_HOME/logs" >&2; stop; exit 1; }
    done
    waited=$((waited + 1))
    [ "$waited" -lt 300 ] || { echo "Airflow is not healthy after 5 minutes; its logs are in $AIRFLOW_HOME/logs" >&2; stop; exit 1; }
    sleep 1
done
echo "Airflow: $here"
echo "users and passwords: $(cat "$AIRFLOW_HOME/simple_auth_manager_passwords.json.generated")"
while :; do
    for pid in $pids; do
        kill -0 "$pid" 2> /dev/null || { echo "Airflow ended; its logs are in $AIRFLOW_HOME/logs" >&2; stop; exit 1; }
    done
    sleep 2 &
    wait $! || true
done
