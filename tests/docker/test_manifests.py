"""The manifests are what Kubernetes reads, and say what the operator and its images mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stream_operator.__main__ import MODULES
from stream_operator.map.guard import Guard
from stream_operator.settings import Settings

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install '.[test]'")
kubernetes_validate = pytest.importorskip(
    "kubernetes_validate", reason="kubernetes-validate is not installed: pip install '.[test]'"
)

K8S = Path(__file__).resolve().parents[2] / "docker" / "k8s"
OLDEST = "1.30"  # before it we promise nothing
KUSTOMIZATION = yaml.safe_load((K8S / "kustomization.yaml").read_text())
RESOURCES: list[dict[str, Any]] = [
    r for name in KUSTOMIZATION["resources"] for r in yaml.safe_load_all((K8S / name).read_text())
]
PODS = {r["metadata"]["name"]: r["spec"]["template"] for r in RESOURCES if "template" in r.get("spec", {})}
SECRETS = {"sasl_username", "sasl_password", "ssl_key_password", "map_token"}


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [r for r in RESOURCES if r["kind"] == kind]


def settings() -> dict[str, str]:
    return of_kind("ConfigMap")[0]["data"]


def environment(container: dict[str, Any]) -> dict[str, str]:
    """What the program in the container sees, with a secret's value stood in for."""
    own = {e["name"]: e.get("value", "a secret of 16 characters") for e in container.get("env", [])}
    return {**settings(), **own}


def test_every_file_is_part_of_the_kustomization():
    assert {p.name for p in K8S.glob("*.yaml")} == {*KUSTOMIZATION["resources"], "kustomization.yaml"}


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: f"{r['kind']}-{r['metadata']['name']}")
def test_a_resource_is_valid_and_has_no_unknown_field(resource, version):
    kubernetes_validate.validate(resource, version, strict=True)


def test_a_misspelt_field_is_found():
    worker = yaml.safe_load((K8S / "worker.yaml").read_text().split("---")[0])
    worker["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(worker, OLDEST, strict=True)


def test_selectors_find_the_pods_that_are_meant():
    for deployment in of_kind("Deployment"):
        wanted = deployment["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= PODS[deployment["metadata"]["name"]]["metadata"]["labels"].items()
    selectors = [r["spec"]["selector"].get("matchLabels") for r in of_kind("PodDisruptionBudget")]
    selectors += [r["spec"]["selector"] for r in of_kind("Service")]
    assert len(selectors) == 2
    for selector in selectors:
        assert sum(selector.items() <= pod["metadata"]["labels"].items() for pod in PODS.values()) == 1


def test_every_setting_is_one_that_the_operator_knows_and_takes():
    known = {name.upper() for name in Settings.__dataclass_fields__}
    assert set(settings()) <= known
    for pod in PODS.values():
        (container,) = pod["spec"]["containers"]
        assert {e["name"] for e in container.get("env", [])} <= known
        assert Settings.load(environment(container)).bootstrap_servers == settings()["BOOTSTRAP_SERVERS"]


def test_secrets_come_by_reference_only():
    assert of_kind("Secret") == []
    assert not {name.lower() for name in settings()} & SECRETS
    for pod in PODS.values():
        for entry in pod["spec"]["containers"][0].get("env", []):
            assert entry["name"].lower() not in SECRETS or "secretKeyRef" in entry["valueFrom"]


def test_the_map_that_listens_to_all_has_its_token():
    (container,) = PODS["multitaskais-map"]["spec"]["containers"]
    s = Settings.load(environment(container))
    assert Guard(s.map_bind, s.map_token).token  # it refuses to be made otherwise


@pytest.mark.parametrize("name", PODS)
def test_a_pod_runs_without_privilege_on_a_read_only_file_system(name):
    spec = PODS[name]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]
    assert {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")} == {"/tmp"}
    # Else Kubernetes sets variables of its own by the names of Services, and MAP_PORT would be one for a Service `map`.
    assert spec["enableServiceLinks"] is False


@pytest.mark.parametrize("name", PODS)
def test_a_pod_runs_a_command_of_the_operator_from_the_image_that_is_named(name):
    (container,) = PODS[name]["spec"]["containers"]
    assert container["args"][0] in {"worker", "settings", *MODULES}
    assert container["image"] in {i["name"] for i in KUSTOMIZATION["images"]}


def test_probes_ask_the_ports_that_the_settings_open():
    s = Settings.load({**settings(), "MAP_TOKEN": "a secret of 16 characters"})
    assert (s.health_bind, s.map_bind) == ("0.0.0.0", "0.0.0.0")  # a kubelet does not come from localhost
    for name, port, ready in (
        ("multitaskais-worker", s.health_port, "/ready"),
        ("multitaskais-map", s.map_port, "/health"),
    ):
        (container,) = PODS[name]["spec"]["containers"]
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        paths = {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": ready}
        for probe, path in paths.items():
            assert container[probe]["httpGet"]["path"] == path
            assert ports[container[probe]["httpGet"]["port"]] == port


def test_a_worker_has_time_for_its_last_checkpoint():
    spec = PODS["multitaskais-worker"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > 2 * Settings.load(settings()).stop_timeout_s
