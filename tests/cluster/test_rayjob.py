"""scripts/cluster/rayjob.yaml, field by field.

KubeRay publishes its schema as a custom resource definition in its repository and Helm chart, which no package
registry carries. So the fields that are used were looked up in KubeRay's API reference (1.5 to 1.7) and stand
here by hand: a misspelt field fails, as Kubernetes would refuse or drop it.
"""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from gpnet_ray.cli import app
from gpnet_ray.config_layers import load_config

FOLDER = Path(__file__).parents[2] / "scripts" / "cluster"

KNOWN = {
    "RayJob": {"apiVersion", "kind", "metadata", "spec"},
    "RayJob.spec": {
        *("activeDeadlineSeconds", "backoffLimit", "clusterSelector", "deletionStrategy"),
        *("entrypoint", "entrypointNumCpus", "entrypointNumGpus", "entrypointResources", "jobId"),
        *("managedBy", "metadata", "rayClusterSpec", "runtimeEnvYAML", "shutdownAfterJobFinishes"),
        *("submissionMode", "submitterConfig", "submitterPodTemplate", "suspend"),
        *("ttlSecondsAfterFinished",),
    },
    "RayCluster.spec": {
        *(
            "authOptions",
            "autoscalerOptions",
            "enableInTreeAutoscaling",
            "gcsFaultToleranceOptions",
        ),
        *("headGroupSpec", "headServiceAnnotations", "managedBy", "rayVersion", "suspend"),
        *("upgradeStrategy", "workerGroupSpecs"),
    },
    "authOptions": {"mode", "secretName"},
    "autoscalerOptions": {
        *("env", "envFrom", "idleTimeoutSeconds", "image", "imagePullPolicy", "resources"),
        *("securityContext", "upscalingMode", "version", "volumeMounts"),
    },
    "headGroupSpec": {
        *("enableIngress", "headService", "labels", "rayStartParams", "resources", "serviceType"),
        "template",
    },
    "workerGroupSpec": {
        *("groupName", "idleTimeoutSeconds", "labels", "maxReplicas", "minReplicas", "numOfHosts"),
        *("rayStartParams", "replicas", "resources", "scaleStrategy", "suspend", "template"),
    },
    "pod.spec": {"automountServiceAccountToken", "containers", "securityContext", "volumes"},
    "container": {
        *("env", "image", "name", "ports", "resources", "securityContext", "volumeMounts"),
    },
}


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "rayjob.yaml").read_text("utf-8")))


def groups(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def test_every_field_is_one_that_kuberay_knows(job: dict[str, Any]) -> None:
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    found = [
        ("RayJob", job),
        ("RayJob.spec", spec),
        ("RayCluster.spec", cluster),
        ("authOptions", cluster["authOptions"]),
        ("autoscalerOptions", cluster["autoscalerOptions"]),
        ("headGroupSpec", cluster["headGroupSpec"]),
        *(("workerGroupSpec", group) for group in cluster["workerGroupSpecs"]),
    ]
    for group in groups(job):
        pod = group["template"]["spec"]
        found += [("pod.spec", pod), *(("container", c) for c in pod["containers"])]
    unknown = {name: set(fields) - KNOWN[name] for name, fields in found}
    assert not {name: fields for name, fields in unknown.items() if fields}
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert spec["submissionMode"] in ("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode")
    # Required ones.
    assert all("rayStartParams" in group and "template" in group for group in groups(job))
    # A map of strings: a number or a boolean would be refused.
    assert all(isinstance(v, str) for g in groups(job) for v in g["rayStartParams"].values())


def test_nobody_gets_in_without_the_token_and_no_secret_stands_in_the_file(
    job: dict[str, Any],
) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert tuple(map(int, cluster["rayVersion"].split("."))) >= (2, 55, 0)
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    for group in groups(job):
        for container in group["template"]["spec"]["containers"]:
            assert all("value" not in variable for variable in container["env"])
            assert container["securityContext"]["runAsNonRoot"] is True


def test_the_head_has_no_gpu_and_gpu_workers_start_from_zero(job: dict[str, Any]) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"] is True
    head, gpu = (group["template"]["spec"]["containers"][0] for group in groups(job))
    assert "nvidia.com/gpu" not in head["resources"]["limits"]
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == "1"
    workers = cluster["workerGroupSpecs"][0]
    assert workers["minReplicas"] == workers["replicas"] == 0 < workers["maxReplicas"]
    # KubeRay tells Ray what a pod has from its limits, and Kubernetes keeps to the requests.
    for container in (head, gpu):
        assert container["resources"]["limits"] == container["resources"]["requests"]


def test_volumes_that_are_mounted_are_there_and_results_go_to_one(job: dict[str, Any]) -> None:
    for group in groups(job):
        pod = group["template"]["spec"]
        there = {volume["name"] for volume in pod["volumes"]}
        mounts = pod["containers"][0]["volumeMounts"]
        assert {mount["name"] for mount in mounts} <= there
        assert any(mount["mountPath"] == "/data" for mount in mounts)
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[words.index("--runs-dir") + 1].startswith("/data/")


def test_its_command_is_one_that_the_program_understands(job: dict[str, Any]) -> None:
    program, command, *options = shlex.split(job["spec"]["entrypoint"])
    assert (program, command) == ("gpnet-ray", "run")
    listed = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200"}).output
    assert all(option in listed for option in options if option.startswith("--"))
    settings = [given for word, given in pairwise(options) if word == "--set"]
    load_config(overrides=dict(setting.split("=") for setting in settings))


def test_cluster_and_image_have_the_ray_that_ci_passed_with(job: dict[str, Any]) -> None:
    constraints = (FOLDER.parents[1] / "constraints.txt").read_text("utf-8")
    pinned = re.search(r"(?m)^ray==(\S+)$", constraints)
    assert pinned is not None
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == pinned[1]
    dockerfile = (FOLDER / "Dockerfile").read_text("utf-8")
    assert f"FROM rayproject/ray:{pinned[1]}-py311" in dockerfile
