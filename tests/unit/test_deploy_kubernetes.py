"""deploy/kubernetes: valid by Kubernetes' own schemas, and true to what the service reads, serves and needs."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prometheus_client import CollectorRegistry

from mailculator import __version__
from mailculator.config import Settings
from mailculator.timing import Timing
from mailculator.web import server
from mailculator.web.health import Health, Limits
from tests.support.deployed import DEPLOY, MARGIN, ROOT, secrets_in, started_with, works_for
from tests.support.promtool import rules

FOLDER = DEPLOY / "kubernetes"
OLDEST = "1.30"
"""Older than any version that is still maintained; beside it the newest is asked whose schemas are there."""


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


SERVICE = {one["kind"]: one for one in documents("mailculator.yaml")}
(SCHEMA,) = documents("schema.yaml")
(ADAPTER,) = documents("prometheus-adapter.yaml")
WORKLOADS = {"service": SERVICE["Deployment"], "schema": SCHEMA}
POD: dict[str, Any] = SERVICE["Deployment"]["spec"]["template"]["spec"]
LABELS: dict[str, str] = SERVICE["Deployment"]["spec"]["template"]["metadata"]["labels"]


def container(workload: Mapping[str, Any]) -> dict[str, Any]:
    (one,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(one)


def environment(workload: Mapping[str, Any]) -> dict[str, str]:
    """Its variables; what comes from the pod itself by the name of the field."""
    given = container(workload)["env"]
    return {one["name"]: one.get("value") or one["valueFrom"]["fieldRef"]["fieldPath"] for one in given}


# ---- Kubernetes' word -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("document", [*SERVICE.values(), SCHEMA], ids=lambda one: one["kind"])
def test_kubernetes_would_take_it(document: dict[str, Any], version: str) -> None:
    assert kubernetes_validate.validate(document, version, strict=True)


def misspelt(pod: dict[str, Any]) -> None:
    pod["terminationGracePeriod"] = pod.pop("terminationGracePeriodSeconds")


def of_another_type(pod: dict[str, Any]) -> None:
    pod["containers"][0]["env"].append({"name": "SMTP_PORT", "value": 587})


def left_out(pod: dict[str, Any]) -> None:
    del pod["containers"][0]["volumeMounts"][0]["mountPath"]


@pytest.mark.parametrize("harm", [misspelt, of_another_type, left_out])
def test_the_schemas_see_what_is_wrong(harm: Callable[[dict[str, Any]], None]) -> None:
    harmed = copy.deepcopy(SERVICE["Deployment"])
    harm(harmed["spec"]["template"]["spec"])
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(harmed, OLDEST, strict=True)


# ---- what the service reads -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
def test_the_service_would_start_with_it(workload: Mapping[str, Any]) -> None:
    given = environment(workload)
    assert len(given) == len(container(workload)["env"])
    assert started_with(given).mysql_pipelines_enabled
    assert secrets_in(given) == set(), "a secret in the environment is shown to whoever may look at the pod"


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
def test_secrets_are_files_of_a_secret(workload: Mapping[str, Any]) -> None:
    files = [value for name, value in environment(workload).items() if name.endswith("_FILE")]
    assert files
    for file in files:
        volume = mounted(workload, file)
        assert volume["secret"]["defaultMode"] == 0o440, "root's, and readable by our group alone"
        name, key = volume["secret"]["secretName"], file.rpartition("/")[2]
        page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8").replace("\\\n", " ")
        (made,) = re.findall(rf"kubectl \S+ \S+ create secret generic {name} (.*)", page)
        assert key in re.findall(r"--from-file=([\w-]+)", made)


def mounted(workload: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The volume that a path lies on."""
    (mount,) = [one for one in container(workload)["volumeMounts"] if f"{path}/".startswith(f"{one['mountPath']}/")]
    (volume,) = [one for one in workload["spec"]["template"]["spec"]["volumes"] if one["name"] == mount["name"]]
    return {**volume, "read_only": mount.get("readOnly", False)}


def test_the_journal_outlives_the_pod_and_is_shared() -> None:
    volume = mounted(SERVICE["Deployment"], environment(SERVICE["Deployment"])["MAILCULATOR_JOURNAL_DIR"])
    claim = SERVICE["PersistentVolumeClaim"]
    assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert volume["read_only"] is False


def test_the_payloads_cannot_be_written_to() -> None:
    volume = mounted(SERVICE["Deployment"], environment(SERVICE["Deployment"])["ATTACHMENTS_BASE_PATH"])
    assert volume["persistentVolumeClaim"]["readOnly"] is True
    assert volume["read_only"] is True


# ---- what it serves -------------------------------------------------------------------------------------------------


def test_probes_ask_for_what_is_served() -> None:
    health = Health(__version__, Limits.of(Timing(), interval=1.0), stores=())
    served = server._routes(health, CollectorRegistry())
    one = container(SERVICE["Deployment"])
    asked = {name: one[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["path"] for probe in asked.values()} <= set(served)
    assert {name: probe["path"] for name, probe in asked.items()} == {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",  # what fails while a dependency is away, or while we drain, would have us killed
        "readinessProbe": "/readyz",
    }
    assert {probe["port"] for probe in asked.values()} == {port["name"] for port in one["ports"]}


def test_ports_are_those_of_the_settings() -> None:
    default = started_with(environment(SERVICE["Deployment"])).http_port
    assert default == Settings.model_fields["http_port"].default
    assert [port["containerPort"] for port in container(SERVICE["Deployment"])["ports"]] == [default]
    assert [port["port"] for port in SERVICE["Service"]["spec"]["ports"]] == [default]


def test_prometheus_finds_every_replica_by_the_services_name() -> None:
    spec = SERVICE["Service"]["spec"]
    assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
    settings = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    (asked,) = settings["scrape_configs"][0]["dns_sd_configs"]
    assert asked["names"] == [f"{SERVICE['Service']['metadata']['name']}.mail.svc"]


# ---- how it stops, and how many there are ---------------------------------------------------------------------------


def test_a_stop_ends_by_itself_and_cuts_off_no_mail_that_has_left() -> None:
    settings = started_with(environment(SERVICE["Deployment"]))
    assert POD["terminationGracePeriodSeconds"] >= settings.shutdown_grace + MARGIN
    assert POD["terminationGracePeriodSeconds"] >= Settings.model_fields["shutdown_grace"].default + MARGIN
    assert works_for(settings) > settings.timing.smtp_dot
    assert works_for(settings) > max(settings.timing.smtp_command, settings.timing.smtp_data, settings.timing.smtp_body)


def test_everybody_means_the_same_pods() -> None:
    deployment = SERVICE["Deployment"]
    assert deployment["spec"]["selector"]["matchLabels"] == LABELS
    assert SERVICE["Service"]["spec"]["selector"] == LABELS
    assert SERVICE["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == LABELS
    assert POD["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"] == LABELS
    assert SCHEMA["spec"]["template"]["metadata"]["labels"] != LABELS
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment["metadata"]["name"]}
    assert SERVICE["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"] == target


def test_somebody_is_always_there() -> None:
    assert "replicas" not in SERVICE["Deployment"]["spec"], "each apply would undo the autoscaler's number"
    assert SERVICE["HorizontalPodAutoscaler"]["spec"]["minReplicas"] > 1
    assert SERVICE["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert SERVICE["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_replicas_follow_the_age_that_prometheus_has_recorded() -> None:
    (metric,) = SERVICE["HorizontalPodAutoscaler"]["spec"]["metrics"]
    (shown,) = ADAPTER["rules"]["external"]
    assert metric["external"]["metric"]["name"] == shown["name"]["as"]
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert recorded == {shown["seriesQuery"]}
    assert shown["metricsQuery"] == f"max({shown['seriesQuery']})"


# ---- what it may ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
def test_it_runs_as_the_images_user_and_may_hardly_anything(workload: Mapping[str, Any]) -> None:
    pod, one = workload["spec"]["template"]["spec"], container(workload)
    user, group = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)[-1]
    given = pod["securityContext"]
    assert (given["runAsUser"], given["runAsGroup"], given["fsGroup"]) == (int(user), int(group), int(group))
    assert given["runAsNonRoot"] is True
    assert given["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert one["image"] == f"mailculator:{__version__}"
    assert "memory" in one["resources"]["limits"]
