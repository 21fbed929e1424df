"""The Kubernetes manifests, rendered by the real kustomize: valid, pinned, restricted and consistent.

No cluster stands behind this: what only one can tell (admission, operators, a network that enforces policies) is not
tested, and docs/deploy-kubernetes.md says so.
"""

import copy

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.deployment import OVERLAYS, ROOT, is_pinned, rendered

KUBERNETES = "1.35"
CRDS = yaml.safe_load((ROOT / "tests" / "data" / "crds.yaml").read_text())
WORKLOADS = {"Deployment", "StatefulSet", "Job", "CronJob"}
FOREIGN_SERVICES = {
    "cnpg.io/cluster=postgres": {5432, 8000, 9187},  # CloudNativePG: Postgres, the instance's status, its figures
    "namespace=milvus": {19530},  # the operator's service of Milvus' proxies
    "namespace=monitoring": {4318},  # an OpenTelemetry collector
    "namespace=kube-system": {53},
}
MESH_PORT = 15008
ON_MILVUS = {19530, 9091}


def closed(schema):
    """Refuse, in every object that is not free, what the schema does not name."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    return inner | ({"additionalProperties": False} if inner.get("type") == "object" and "free" not in inner else {})


def kinds(overlay, *wanted):
    return [one for one in rendered(overlay) if one["kind"] in wanted]


def name(one):
    return f"{one['kind']}/{one['metadata']['name']}"


def pod_of(workload):
    spec = workload["spec"]
    return (spec["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else spec)["template"]


def the_settings(overlay):
    (settings,) = [one for one in kinds(overlay, "ConfigMap") if one["metadata"]["name"].startswith("settings")]
    return settings


def named(overlay, kind, wanted):
    (one,) = [one for one in kinds(overlay, kind) if one["metadata"]["name"] == wanted]
    return one


def containers(overlay):
    workloads = kinds(overlay, *WORKLOADS)
    assert workloads
    for workload in workloads:
        pod = pod_of(workload)["spec"]
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield workload, pod, container


def validate(one):
    """Raise when a resource is not what its schema says; of a kind that neither side knows, too."""
    if one["kind"] not in CRDS:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)
        return
    schema = CRDS[one["kind"]]
    assert one["apiVersion"] == schema["apiVersion"], name(one)
    assert set(one) == {"apiVersion", "kind", "metadata", "spec"}, name(one)
    jsonschema.validate(one["spec"], closed(schema["spec"]))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_resource_keeps_to_its_schema(overlay):
    for one in rendered(overlay):
        validate(one)
    assert len({(name(one), one["metadata"].get("namespace")) for one in rendered(overlay)}) == len(rendered(overlay))


@pytest.mark.parametrize(
    ("which", "path", "value"),
    [
        ("Deployment/gateway", ("spec", "template", "spec", "containers", 0, "readinesProbe"), {}),
        ("Deployment/gateway", ("spec", "minReadySeconds"), "soon"),
        ("ScaledObject/indexer", ("spec", "minReplicas"), 1),
        ("ScaledObject/triton", ("spec", "triggers", 0, "metadata", "treshold"), "1"),
        ("Milvus/milvus", ("spec", "components", "queryNode", "replica"), 3),
        ("Cluster/postgres", ("spec", "storage", "sise"), "1Gi"),
        ("ExternalSecret/visualsearch", ("spec", "data", 0, "secretkey"), "x"),
        ("PeerAuthentication/strict", ("spec", "mtls", "mode"), "STRIKT"),
        ("HTTPRoute/gateway", ("spec", "rules", 1, "timeout"), "3s"),
    ],
)
def test_a_typing_error_in_a_manifest_is_detected(which, path, value):
    one = copy.deepcopy(next(one for one in rendered("production") if name(one) == which))
    at = one
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        validate(one)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_image_is_pinned(overlay):
    images = {container["image"] for _, _, container in containers(overlay)}
    images |= {one["spec"]["components"]["image"] for one in kinds(overlay, "Milvus")}
    images |= {one["spec"]["imageName"].replace("-system-trixie", "") for one in kinds(overlay, "Cluster")}
    assert images
    assert [image for image in images if not is_pinned(image)] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_has_requests_limits_and_probes(overlay):
    for workload, pod, container in containers(overlay):
        for kind in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(container["resources"][kind]), name(workload)
        if workload["kind"] in {"Deployment", "StatefulSet"} and container in pod["containers"]:
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container), name(workload)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_a_restricted_one_with_a_root_that_it_cannot_write(overlay):
    (ours,) = [one for one in kinds(overlay, "Namespace") if one["metadata"]["name"] == "visual-search"]
    assert ours["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for workload, pod, container in containers(overlay):
        assert pod["securityContext"]["runAsNonRoot"] is True, name(workload)
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_manifest_contains_a_secret(overlay):
    assert not kinds(overlay, "Secret")
    for workload, _, container in containers(overlay):
        for variable in container.get("env", []):
            assert "value" not in variable, f"{name(workload)}: {variable}"
    settings = the_settings(overlay)
    values = {key: value for key, value in settings["data"].items() if not value.startswith("/run/tls/")}
    assert not [key for key in values if key.endswith(("PASSWORD", "_KEY", "TOKEN", "API_KEYS"))]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_reference_has_its_target(overlay):
    claims = {one["metadata"]["name"] for one in kinds(overlay, "PersistentVolumeClaim")}
    maps = {one["metadata"]["name"] for one in kinds(overlay, "ConfigMap")}
    secrets = {one["spec"]["target"]["name"] for one in kinds(overlay, "ExternalSecret")}
    secrets |= {one["spec"]["secretName"] for one in kinds(overlay, "Certificate")}
    secrets |= {"postgres-app", "postgres-ca"}  # CloudNativePG makes them for the cluster of this name
    used = set()
    for workload, pod, container in containers(overlay):
        assert {one["configMapRef"]["name"] for one in container.get("envFrom", [])} <= maps
        volumes = {volume["name"] for volume in pod["volumes"]}
        volumes |= {one["metadata"]["name"] for one in workload["spec"].get("volumeClaimTemplates", [])}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        for volume in pod["volumes"]:
            assert volume.get("persistentVolumeClaim", {"claimName": "backups"})["claimName"] in claims
            sources = volume.get("projected", {}).get("sources", [])
            used |= {source["secret"]["name"] for source in sources}
            used |= {volume["secret"]["secretName"]} if "secret" in volume else set()
    assert used <= secrets, used - secrets


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_autoscalers_and_disruption_budgets_name_existing_workloads(overlay):
    workloads = {one["metadata"]["name"]: one for one in kinds(overlay, "Deployment", "StatefulSet")}
    scaled = kinds(overlay, "HorizontalPodAutoscaler", "ScaledObject")
    assert (
        {one["spec"]["scaleTargetRef"]["name"] for one in scaled} == {"gateway", "indexer", "triton"} <= set(workloads)
    )
    for one in scaled:
        assert "replicas" not in workloads[one["spec"]["scaleTargetRef"]["name"]]["spec"], "two would set it"
    labels = [pod_of(one)["metadata"]["labels"] for one in workloads.values()]
    for one in kinds(overlay, "PodDisruptionBudget"):
        wanted = one["spec"]["selector"]["matchLabels"].items()
        assert [have for have in labels if wanted <= have.items()], name(one)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_service_leads_to_ports_that_are_open(overlay):
    pods = [pod_of(one) for one in kinds(overlay, "Deployment", "StatefulSet")]
    services = kinds(overlay, "Service")
    assert services
    for service in services:
        wanted = service["spec"]["selector"].items()
        (pod,) = [pod for pod in pods if wanted <= pod["metadata"]["labels"].items()]
        there = {port["name"]: port["containerPort"] for one in pod["spec"]["containers"] for port in one["ports"]}
        assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]}.items() <= there.items()


def peers(rule, side):
    """Yield what a peer of a policy's rule selects, as `label=value` or `namespace=value`; None is any pod."""
    for peer in rule.get(side, []):
        labels = peer.get("podSelector", {}).get("matchLabels", {})
        for expression in peer.get("podSelector", {}).get("matchExpressions", []):
            yield from (f"{expression['key']}={value}" for value in expression["values"])
        spaces = peer.get("namespaceSelector", {}).get("matchLabels", {})
        yield from (f"{key}={value}" for key, value in labels.items())
        yield from (f"namespace={value}" for value in spaces.values() if not labels)


def ports_of(rule):
    return {port["port"] for port in rule.get("ports", [])} - {MESH_PORT}


def selected(policy):
    selector = policy["spec"]["podSelector"]
    found = [f"{key}={value}" for key, value in selector.get("matchLabels", {}).items()]
    for expression in selector.get("matchExpressions", []):
        found += [f"{expression['key']}={value}" for value in expression["values"]]
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_port_that_a_policy_opens_is_one_that_a_service_has(overlay):
    known = dict(FOREIGN_SERVICES)
    for service in kinds(overlay, "Service"):
        (label,) = [f"{key}={value}" for key, value in service["spec"]["selector"].items()]
        known[label] = {port["port"] for port in service["spec"]["ports"]}
    policies = kinds(overlay, "NetworkPolicy")
    assert policies
    for policy in policies:
        spec = policy["spec"]
        for rule in spec.get("ingress", []):
            for who in selected(policy):
                assert ports_of(rule) <= known[who], f"{name(policy)} opens {ports_of(rule)} of {who}"
        for rule in spec.get("egress", []):
            for whom in peers(rule, "to"):
                if whom != "k8s-app=kube-dns":
                    assert ports_of(rule) <= known[whom], f"{name(policy)} calls {ports_of(rule)} of {whom}"
        if policy["metadata"]["namespace"] == "milvus":
            assert all(ports_of(rule) <= ON_MILVUS for rule in spec.get("ingress", []))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_open_that_no_policy_names_and_both_ends_agree(overlay):
    policies = [one for one in kinds(overlay, "NetworkPolicy") if one["metadata"]["namespace"] == "visual-search"]
    (default,) = [one for one in policies if one["metadata"]["name"] == "deny-everything"]
    assert default["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    calls, answers = set(), set()
    for policy in policies:
        for here in selected(policy):
            for rule in policy["spec"].get("egress", []):
                calls |= {(here, there, port) for there in peers(rule, "to") for port in ports_of(rule)}
            for rule in policy["spec"].get("ingress", []):
                answers |= {(there, here, port) for there in peers(rule, "from") for port in ports_of(rule)}
    ours = {f"app.kubernetes.io/name={one['metadata']['name']}" for one in kinds(overlay, *WORKLOADS)}
    ours |= {"cnpg.io/cluster=postgres"}
    alias = {"app.kubernetes.io/name=postgres": "cnpg.io/cluster=postgres"}
    wanted = {(alias.get(here, here), there, port) for here, there, port in calls if there in ours}
    # Ports alone cannot separate writers of the filer from readers of its log.
    assert {one for one in wanted if one[2] != 18888} <= answers
    assert {one for one in answers if one[0] in ours} <= wanted


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_monitors_find_services_and_their_ports(overlay):
    services = {one["metadata"]["name"]: one for one in kinds(overlay, "Service")}
    monitors = kinds(overlay, "ServiceMonitor")
    assert monitors
    for monitor in monitors:
        service = services[monitor["metadata"]["name"]]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        there = {port["name"] for port in service["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= there


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_routes_lead_to_the_gateway_with_a_certificate_for_their_names(overlay):
    certificate = named(overlay, "Certificate", "gateway-tls")
    (front,) = kinds(overlay, "Gateway")
    listeners = {one["name"]: one for one in front["spec"]["listeners"]}
    assert listeners["https"]["tls"]["certificateRefs"][0]["name"] == certificate["spec"]["secretName"]
    ports = {port["port"] for port in named(overlay, "Service", "gateway")["spec"]["ports"]}
    for route in kinds(overlay, "HTTPRoute", "GRPCRoute"):
        assert {one["sectionName"] for one in route["spec"]["parentRefs"]} <= set(listeners)
        assert set(route["spec"].get("hostnames", [])) <= set(certificate["spec"]["dnsNames"])
        for rule in route["spec"]["rules"]:
            assert {(one["name"], one["port"] in ports) for one in rule.get("backendRefs", [])} <= {("gateway", True)}


def test_production_has_graphics_cards_and_encrypts_between_pods():
    (triton,) = pod_of(named("production", "Deployment", "triton"))["spec"]["containers"]
    assert triton["resources"]["limits"]["nvidia.com/gpu"] == "1"
    for space in kinds("production", "Namespace"):
        assert space["metadata"]["labels"]["istio.io/dataplane-mode"] == "ambient"
    assert named("production", "PeerAuthentication", "strict")["spec"] == {"mtls": {"mode": "STRICT"}}
    settings = the_settings("production")["data"]
    assert "sslmode=verify-full" in settings["VISUALSEARCH_POSTGRES_DSN"]
    assert settings["VISUALSEARCH_S3_URL"].startswith("https://")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_front_proxy_verifies_the_gateways_certificate(overlay):
    policy = named(overlay, "BackendTLSPolicy", "gateway")["spec"]
    certificate = named(overlay, "Certificate", "gateway")["spec"]
    assert [one["name"] for one in policy["targetRefs"]] == ["gateway"]
    assert policy["validation"]["hostname"] in certificate["dnsNames"]
    assert [one["name"] for one in policy["validation"]["caCertificateRefs"]] == [certificate["secretName"]]
    (container,) = pod_of(named(overlay, "Deployment", "gateway"))["spec"]["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_the_settings_name_in_run_tls_is_there_in_every_pod_of_ours(overlay):
    settings = the_settings(overlay)
    files = {value for value in settings["data"].values() if value.startswith("/run/tls/")}
    assert files == {f"/run/tls/{name}" for name in ("ca.crt", "tls.crt", "tls.key")}
    issued = {one["spec"]["secretName"] for one in kinds(overlay, "Certificate")}
    for workload, pod, container in containers(overlay):
        if "envFrom" in container:
            assert {"name": "tls", "mountPath": "/run/tls", "readOnly": True} in container["volumeMounts"]
            (volume,) = [one for one in pod["volumes"] if one["name"] == "tls"]
            assert volume["secret"]["secretName"] in issued, name(workload)
