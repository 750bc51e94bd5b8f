"""The pipelines as DAG files for Airflow: texts that import airflow and the standard library alone.

Airflow lives in an environment of its own; a task runs ``multitaskais pipeline step`` in the product's. The configuration travels as JSON in an
environment variable, so no shell ever reads it. A task that had nothing to do ends with 99, which Airflow shows as *skipped*.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from pprint import pformat
from typing import Any

import msgspec

from multitaskais import __version__

from .conf import ON_REQUEST, PIPELINES, Common, own_steps
from .step import Step

VARIABLE = "MULTITASKAIS_CONF"
DAGS = {
    "multitaskais_train": ("train", "From archive to published model."),
    "multitaskais_test": ("test", "What a model finds among anomalies that are put into an archive."),
    "multitaskais_experiments": ("experiments", "Sets of detectors, seeds and days, as one table."),
}

HEAD = '''"""{doc}

Written by `multitaskais pipeline dags` of MultitaskAIS {version}; write it again after an update of the product.
"""

import os

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param

PYTHON = os.environ.get("MULTITASKAIS_PYTHON", {python!r})  # of the product's environment
OUT = os.environ.get("PIPELINE_OUT", {out!r})  # where outputs are
# name of each value of the configuration -> its default (where it has one) and its JSON schema
PARAMS = {params}

with DAG(
    {dag!r},
    description={doc!r},
    schedule=None,
    catchup=False,
    max_active_runs=2,
    tags=["multitaskais"],
    params={{name: Param(**values) for name, values in PARAMS.items()}},
) as dag:
'''

STEPS = """    # name of each task -> names of the tasks before it
    STEPS = {steps}
    tasks = {{
        name: BashOperator(
            task_id=name,
            # Constant but for the step's name: the configuration is in the environment, and no shell reads it.
            bash_command=f'exec "$MULTITASKAIS_PYTHON" -m multitaskais pipeline step {{name}} --conf-env {variable}',
            env={{"MULTITASKAIS_PYTHON": PYTHON, "PIPELINE_OUT": OUT, {variable!r}: "{{{{ params | tojson }}}}"}},
            append_env=True,
            skip_on_exit_code=99,
            trigger_rule="none_failed",  # a step after one that had nothing to do is done
            retries=0,
        )
        for name in STEPS
    }}
    for name, before in STEPS.items():
        for one in before:
            tasks[one] >> tasks[name]
"""

# Which steps there are follows from the configuration, which no file of DAGs knows: one task does those that are not done.
WHOLE = """    BashOperator(
        task_id={pipeline!r},
        bash_command='exec "$MULTITASKAIS_PYTHON" -m multitaskais pipeline run --conf-env {variable}',
        env={{"MULTITASKAIS_PYTHON": PYTHON, "PIPELINE_OUT": OUT, {variable!r}: "{{{{ params | tojson }}}}"}},
        append_env=True,
        skip_on_exit_code=99,
        trigger_rule="none_failed",
        retries=0,
    )
"""


def write(folder: Path, out: Path, python: str = sys.executable) -> list[Path]:
    """The files; each is put in its place whole, so that Airflow never reads half of one.

    Args:
        out: where outputs are, unless PIPELINE_OUT says otherwise where Airflow runs; a task has a working folder that does not stay.
        python: of the product's environment, unless MULTITASKAIS_PYTHON says otherwise there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for dag in DAGS:
        file = folder / f"{dag}.py"
        part = folder / f".{dag}.{os.getpid()}.part"
        part.write_text(text(dag, out.absolute(), python))
        part.replace(file)
        files.append(file)
    return files


def text(dag: str, out: Path, python: str) -> str:
    """Source of one file."""
    pipeline, doc = DAGS[dag]
    kinds = [*PIPELINES[pipeline], *own_steps().values()]
    names = {k.kind for k in kinds}
    steps = {k.kind: [a for a in k.after if a in names] for k in kinds}
    return (HEAD + (WHOLE if pipeline == "experiments" else STEPS)).format(
        doc=doc,
        version=__version__,
        pipeline=pipeline,
        python=python,
        out=str(out),
        dag=dag,
        steps=pformat(steps, width=110, sort_dicts=False),
        params=pformat(params(pipeline), width=110, sort_dicts=False),
        variable=VARIABLE,
    )


def params(pipeline: str) -> dict[str, dict[str, Any]]:
    """Name -> arguments of Airflow's ``Param``: a default where there is one, and the schema that the settings classes give."""
    outside = _properties(Common)
    found: dict[str, dict[str, Any]] = {"pipeline": {"default": pipeline, "type": "string", "const": pipeline}}
    found["region"] = {"type": "string", "minLength": 1, "description": "name of a preset, or a JSON file"}
    found["archive"] = outside["archive"] | {"description": "files, folders, patterns"}
    for name in ("last_days", "format"):
        found[name] = outside[name] | {"default": None}
    found["columns"] = outside["columns"] | {"default": {}}
    tables: tuple[type[Step], ...] = PIPELINES[pipeline]
    brought = () if pipeline == "experiments" else own_steps().values()
    for step in (*tables, *brought):
        schema = _schema(step.settings)
        on_request = step in ON_REQUEST or step not in tables
        if on_request:
            found[step.kind] = {"default": None, **schema, "type": ["object", "null"]}
        elif schema["properties"]:
            found[step.kind] = {"default": {}, **schema}
    return found


def _properties(of: type[msgspec.Struct]) -> dict[str, dict[str, Any]]:
    properties: dict[str, dict[str, Any]] = _schema(of)["properties"]
    return properties


def _schema(of: type[msgspec.Struct]) -> dict[str, Any]:
    """JSON schema of a class of settings, without references."""
    (_,), components = msgspec.json.schema_components([of], ref_template="#/$defs/{name}")
    schema: dict[str, Any] = json.loads(json.dumps(components[of.__name__]))
    schema.pop("title", None)
    if "description" in schema:
        schema["description"] = " ".join(str(schema["description"]).split())
    return schema
