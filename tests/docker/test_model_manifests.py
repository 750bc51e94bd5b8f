"""The manifests of scorers and trainers are what Kubernetes reads, and their settings are those of the programs."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from model_trainer.settings import Settings as TrainerSettings
from score_server.settings import Settings as ScoreSettings
from tests.support.s3proxy import free_port
from tests.support.serving import Serving

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install '.[test]'")
kubernetes_validate = pytest.importorskip(
    "kubernetes_validate", reason="kubernetes-validate is not installed: pip install '.[test]'"
)

DOCKER = Path(__file__).resolve().parents[2] / "docker"
K8S = DOCKER / "k8s" / "models"
KUSTOMIZATION = yaml.safe_load((K8S / "kustomization.yaml").read_text())
RESOURCES: list[dict[str, Any]] = [
    r for name in KUSTOMIZATION["resources"] for r in yaml.safe_load_all((K8S / name).read_text())
]
PODS = {r["metadata"]["name"]: r["spec"]["template"] for r in RESOURCES if r["kind"] == "Deployment"}
STORE = {"STORE_URL", "STORE_ENDPOINT", "STORE_REGION", "STORE_CACHE", "STORE_TRUST"}
PROGRAMS: dict[str, type[ScoreSettings] | type[TrainerSettings]] = {
    "multitaskais-score": ScoreSettings,
    "multitaskais-trainer": TrainerSettings,
}
SECRET = ("TOKEN", "SECRET", "KEY", "DATABASE_URL")


def test_every_file_is_part_of_the_kustomization():
    assert {p.name for p in K8S.glob("*.yaml")} == {*KUSTOMIZATION["resources"], "kustomization.yaml"}


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: f"{r['kind']}-{r['metadata']['name']}")
def test_a_resource_is_valid_and_has_no_unknown_field(resource, version):
    kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_unprivileged_and_its_settings_are_known_with_secrets_by_reference(name):
    spec = PODS[name]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]
    assert container["image"] in {i["name"] for i in KUSTOMIZATION["images"]}
    known = STORE | {n.upper() for n in PROGRAMS[name].__dataclass_fields__}
    shared = next(r for r in RESOURCES if r["kind"] == "ConfigMap")["data"]
    assert set(shared) <= known
    for entry in container["env"]:
        assert entry["name"] in known
        assert ("secretKeyRef" in entry.get("valueFrom", {})) == entry["name"].endswith(SECRET)
    values = shared | {e["name"]: e.get("value", "a secret of 16 characters") for e in container["env"]}
    settings = PROGRAMS[name].load({k: v for k, v in values.items() if k not in STORE})
    assert settings.access.token or settings.access.bind == "127.0.0.1"


def test_probes_and_service_and_policy_ask_the_port_that_is_opened():
    (container,) = PODS["multitaskais-score"]["spec"]["containers"]
    port = ScoreSettings().serve_port
    assert container["ports"] == [{"name": "http", "containerPort": port}]
    assert {container[p]["httpGet"]["path"] for p in ("startupProbe", "livenessProbe")} == {"/health"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "http"}
    policies = {r["metadata"]["name"]: r["spec"] for r in RESOURCES if r["kind"] == "NetworkPolicy"}
    assert policies["multitaskais-score"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": port}]}]
    assert "ingress" not in policies["multitaskais-trainer"]
    for resource in RESOURCES:
        selector = resource.get("spec", {}).get("podSelector", {}).get("matchLabels") if resource["kind"] == "NetworkPolicy" else resource.get("spec", {}).get("selector") if resource["kind"] == "Service" else None  # fmt: skip
        if selector:
            assert sum(selector.items() <= pod["metadata"]["labels"].items() for pod in PODS.values()) == 1


COMPOSE = yaml.safe_load((DOCKER / "compose.models.yml").read_text())["services"]
HAPROXY = DOCKER / "score" / "haproxy.cfg"


def test_compose_runs_hardened_containers_with_settings_that_the_programs_take():
    for name, service in COMPOSE.items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        if name != "front":
            program = ScoreSettings if name == "score" else TrainerSettings
            assert set(service["environment"]) <= STORE | {n.upper() for n in program.__dataclass_fields__}


def test_all_scorers_of_compose_are_behind_one_port_of_this_machine():
    assert [p for s in COMPOSE.values() for p in s.get("ports", [])] == ["127.0.0.1:${SCORE_PORT:-8190}:8190"]
    assert "ports" not in COMPOSE["score"]
    (mounted,) = COMPOSE["front"]["volumes"]
    assert (DOCKER / mounted.split(":")[0]).resolve() == HAPROXY
    assert f"score:{ScoreSettings().serve_port} " in HAPROXY.read_text()
    waits = int(re.search(r"timeout server (\d+)s", HAPROXY.read_text())[1])
    assert waits > ScoreSettings().deadline_s


@pytest.mark.skipif(
    shutil.which("haproxy") is None, reason="HAProxy is not installed (Debian: apt-get install haproxy)"
)
def test_while_one_of_two_scorers_behind_the_port_goes_away_no_later_request_fails(tmp_path):
    env = {"MODELS": "anywhere", "JUDGES": "1", "SERVE_TOKEN": "0123456789abcdef"}
    scorers = [Serving("score_server", tmp_path / f"log{k}", env) for k in (0, 1)]
    port = free_port()
    lines = [line for line in HAPROXY.read_text().splitlines() if "server-template" not in line]
    lines += [f"    server scorer{k} 127.0.0.1:{s.port}" for k, s in enumerate(scorers)]
    (tmp_path / "haproxy.cfg").write_text("\n".join(lines).replace("bind :8190", f"bind 127.0.0.1:{port}") + "\n")
    assert subprocess.run(["haproxy", "-c", "-q", "-f", HAPROXY]).returncode == 0
    with subprocess.Popen(["haproxy", "-f", tmp_path / "haproxy.cfg"], stdout=subprocess.DEVNULL) as front:
        try:
            url = f"http://127.0.0.1:{port}/v1/models"
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {env['SERVE_TOKEN']}"})

            def asked() -> int:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return answer.status

            for _ in range(100):
                with contextlib.suppress(OSError):
                    if asked() == 200:
                        break
                time.sleep(0.1)
            scorers[0].process.kill()
            scorers[0].process.wait()
            assert {asked() for _ in range(20)} == {200}
        finally:
            front.kill()
            for s in scorers:
                s.end()
