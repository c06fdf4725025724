"""deploy/ecs: valid by AWS's own description of its interface, and true to what the service reads and needs."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import botocore.loaders
import botocore.model
import botocore.validate
import pytest

from mailculator import __version__
from mailculator.cli.service import HEALTH_TIMEOUT
from mailculator.config import Settings
from tests.support.deployed import DEPLOY, MARGIN, ROOT, secrets_in, started_with

LONGEST_STOP = 120
"""Seconds: the most that Fargate takes for stopTimeout."""
TASK: dict[str, Any] = json.loads((DEPLOY / "ecs" / "task-definition.json").read_text(encoding="utf-8"))
(CONTAINER,) = TASK["containerDefinitions"]
VOLUMES = {one["name"]: one for one in TASK["volumes"]}
PLAIN: dict[str, str] = {one["name"]: one["value"] for one in CONTAINER["environment"]}
SECRET: dict[str, str] = {one["name"]: one["valueFrom"] for one in CONTAINER["secrets"]}


@pytest.fixture(scope="module")
def shape() -> botocore.model.Shape:
    """What RegisterTaskDefinition takes; it lies in botocore as a file."""
    described = botocore.loaders.Loader().load_service_model("ecs", "service-2")
    taken = botocore.model.ServiceModel(described, "ecs").operation_model("RegisterTaskDefinition").input_shape
    assert taken is not None
    return taken


def complaints(shape: botocore.model.Shape, task: dict[str, Any]) -> list[str]:
    report = botocore.validate.ParamValidator().validate(task, shape)
    found = [report.generate_report()] if report.has_errors() else []
    return found or list(_not_listed(shape, task))


def _not_listed(shape: Any, value: Any) -> Iterator[str]:
    """Words that are none of those that a member may have: botocore leaves them to the service."""
    if shape.type_name == "structure":
        for name, inner in value.items():
            yield from _not_listed(shape.members[name], inner)
    elif shape.type_name == "list":
        for inner in value:
            yield from _not_listed(shape.member, inner)
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{value} is none of {shape.enum}"


# ---- AWS's word -----------------------------------------------------------------------------------------------------


def test_ecs_would_take_it(shape: botocore.model.Shape) -> None:
    assert complaints(shape, TASK) == []


def misspelt(task: dict[str, Any]) -> None:
    task["containerDefinitions"][0]["stopTimeOut"] = 30


def of_another_type(task: dict[str, Any]) -> None:
    task["containerDefinitions"][0]["portMappings"][0]["containerPort"] = "8080"


def no_such_word(task: dict[str, Any]) -> None:
    task["volumes"][0]["efsVolumeConfiguration"]["transitEncryption"] = "true"


def left_out(task: dict[str, Any]) -> None:
    del task["family"]


@pytest.mark.parametrize("harm", [misspelt, of_another_type, no_such_word, left_out])
def test_the_description_sees_what_is_wrong(
    shape: botocore.model.Shape, harm: Callable[[dict[str, Any]], None]
) -> None:
    harmed = copy.deepcopy(TASK)
    harm(harmed)
    assert complaints(shape, harmed) != []


# ---- what the service reads and serves ------------------------------------------------------------------------------


def test_the_service_would_start_with_it() -> None:
    assert set(PLAIN) & set(SECRET) == set()
    settings = started_with({**PLAIN, **dict.fromkeys(SECRET, "secret")})
    assert [port["containerPort"] for port in CONTAINER["portMappings"]] == [settings.http_port]


def test_secrets_come_from_where_secrets_are_kept() -> None:
    assert secrets_in(PLAIN) == set()
    assert secrets_in(SECRET) == set(SECRET)
    for where in SECRET.values():
        assert re.fullmatch(r"arn:aws:secretsmanager:[\w-]+:\d{12}:secret:mailculator-\w{6}:[\w-]+::", where)


def test_its_health_is_asked_for_as_the_image_does_it() -> None:
    """ECS ignores the image's HEALTHCHECK."""
    (line,) = re.findall(
        r"^HEALTHCHECK (.+) CMD (.+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    check = CONTAINER["healthCheck"]
    assert check["command"] == ["CMD", *json.loads(line[1])]
    assert line[0] == (
        f"--interval={check['interval']}s --timeout={check['timeout']}s --start-period={check['startPeriod']}s "
        f"--retries={check['retries']}"
    )
    assert check["timeout"] > HEALTH_TIMEOUT


def test_a_stop_ends_by_itself() -> None:
    grace = started_with({**PLAIN, **dict.fromkeys(SECRET, "secret")}).shutdown_grace
    default: float = Settings.model_fields["shutdown_grace"].default
    assert max(grace, default) + MARGIN <= CONTAINER["stopTimeout"] <= LONGEST_STOP


# ---- what it may ----------------------------------------------------------------------------------------------------


def volume(path: str) -> tuple[dict[str, Any], bool]:
    (mount,) = [one for one in CONTAINER["mountPoints"] if f"{path}/".startswith(f"{one['containerPath']}/")]
    return VOLUMES[mount["sourceVolume"]], mount["readOnly"]


@pytest.mark.parametrize(
    ("variable", "read_only"), [("MAILCULATOR_JOURNAL_DIR", False), ("ATTACHMENTS_BASE_PATH", True)]
)
def test_journal_and_payloads_outlive_the_task(variable: str, read_only: bool) -> None:
    found, mounted_read_only = volume(PLAIN[variable])
    assert mounted_read_only is read_only
    assert found["efsVolumeConfiguration"]["transitEncryption"] == "ENABLED"
    assert found["efsVolumeConfiguration"]["authorizationConfig"]["iam"] == "ENABLED"


def test_it_runs_as_the_images_user_and_may_hardly_anything() -> None:
    (*_, user) = re.findall(r"^USER (\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert CONTAINER["user"] == user
    assert CONTAINER["readonlyRootFilesystem"] is True
    assert CONTAINER["linuxParameters"] == {"capabilities": {"drop": ["ALL"]}}
    assert CONTAINER["image"].endswith(f"/mailculator:{__version__}")
