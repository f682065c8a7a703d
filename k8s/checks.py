"""What must hold of the manifests. Run by k8s/validate; each failure is a line.

Kubernetes' own kinds are checked against its schemas (strictly: a field that it does not know is an
error), those of operators against the small schemas beside, and what the programs fix (drain times,
ports, variables, partitions, worker numbers) against the programs' source.
"""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import wrong
import yaml
from jsonschema import Draft202012Validator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
KUBERNETES = "1.37"
OVERLAYS = ("dev", "prod", "sale-night")
SERVICES = ("engine", "order-writer", "catalog", "orders", "distribution")
# Where each program's drain is fixed: the constants whose seconds add up.
DRAINS = {
    "engine": (
        ("engine/src/service.rs", r"REQUESTS_DEADLINE|TASKS_DEADLINE|COUNTS_DEADLINE|FLUSH_DEADLINE|LEASE_DEADLINE", 5),
    ),
    "order-writer": (
        ("order-writer/src/service.rs", "LEAVE_DEADLINE", 1),
        ("order-writer/src/main.rs", "FLUSH_DEADLINE", 1),
    ),
    "catalog": (("kit/src/http/limits.rs", "DRAIN_DEADLINE", 1),),
    "orders": (("kit/src/http/limits.rs", "DRAIN_DEADLINE", 1),),
    "distribution": (("kit/src/http/limits.rs", "DRAIN_DEADLINE", 1),),
}
ADMIN_DRAIN = ("kit/src/admin.rs", "DRAIN_DEADLINE", 1)
# Variables that telemetry reads, which no --help shows.
TELEMETRY = {"FLASHSALE_LOG_FORMAT", "RUST_LOG"}
COMMANDS = json.loads((ROOT / "ops/commands.json").read_text())
failures = []
# Things that their schema takes, so that wrong.py costs little.
passed = set()


def expect(holds, what):
    if not holds and what not in failures:
        failures.append(what)


def seconds(place):
    """The sum of constants `NAME: Duration = Duration::from_secs(N)` of a source file."""
    path, names, count = place
    found = re.findall(rf"const (?:{names}): Duration = Duration::from_secs\((\d+)\)", (ROOT / path).read_text())
    expect(len(found) == count, f"{path}: {count} constants {names} were expected, {len(found)} found")
    return sum(map(int, found))


def drain(service):
    return sum(map(seconds, (*DRAINS[service], ADMIN_DRAIN)))


def bytes_of(text):
    number, unit = re.fullmatch(r"(\d+)([km]?)", text).groups()
    return int(number) << {"": 0, "k": 10, "m": 20}[unit]


def render(kustomize, overlay):
    ended = subprocess.run([kustomize, "build", HERE / "overlays" / overlay], capture_output=True, text=True)
    if ended.returncode != 0:
        failures.append(f"{overlay}: kustomize: {ended.stderr.strip()}")
        return []
    return list(yaml.safe_load_all(ended.stdout))


def check_schema(where, thing):
    text = json.dumps(thing, sort_keys=True)
    if text in passed:
        return
    before = len(failures)
    compare_schema(where, thing)
    if len(failures) == before:
        passed.add(text)


def compare_schema(where, thing):
    own = HERE / "schemas" / f"{thing['kind']}.json"
    if own.exists():
        for error in Draft202012Validator(json.loads(own.read_text())).iter_errors(thing):
            failures.append(f"{where}: {'.'.join(map(str, error.path))}: {error.message}")
        return
    try:
        kubernetes_validate.validate(thing, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        failures.append(f"{where}: {'.'.join(map(str, error.path))}: {error.message}")
    except kubernetes_validate.SchemaNotFoundError:
        failures.append(f"{where}: no schema of {thing['kind']}: write k8s/schemas/{thing['kind']}.json")


def pods(things):
    """Kind, name and pod specification of all that makes pods."""
    for thing in things:
        kind, name, spec = thing["kind"], thing["metadata"]["name"], thing.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if kind in ("Deployment", "StatefulSet", "Job", "CronJob"):
            yield kind, name, spec["template"]["spec"]


def check_pod(where, kind, pod):
    """What the restricted profile asks, and more: a root that is read-only, no token, memory bounded."""
    of_pod = pod.get("securityContext", {})
    expect(of_pod.get("runAsNonRoot") and of_pod.get("runAsUser", 0) > 0, f"{where}: may run as root")
    expect(of_pod.get("seccompProfile") == {"type": "RuntimeDefault"}, f"{where}: no seccomp profile")
    expect(pod.get("automountServiceAccountToken") is False, f"{where}: gets a token of the cluster")
    for container in pod["containers"]:
        of_it, image = container.get("securityContext", {}), container["image"]
        expect(of_it.get("allowPrivilegeEscalation") is False, f"{where}: may gain privileges")
        expect(of_it.get("capabilities") == {"drop": ["ALL"]}, f"{where}: keeps capabilities")
        expect(of_it.get("readOnlyRootFilesystem") or kind == "StatefulSet", f"{where}: root is writable")
        expect(container.get("resources", {}).get("limits", {}).get("memory"), f"{where}: memory is unbounded")
        name, _, tag = image.partition(":")
        expect(tag not in ("", "latest"), f"{where}: image {image} has no version")
        # `host.domain/name` and `host:port/name` are a registry's; the operator sets it.
        expect(name.count("/") == 0 or "." not in name.split("/")[0], f"{where}: image {image} names a registry")
        for variable in container.get("env", []):
            value = str(variable.get("value", ""))
            if re.search(r"SECRET|PASSWORD|_KEY$|MYSQL_URL|REDIS_URL", variable["name"]):
                expect(
                    value.startswith(("file:/run/secrets/", "/run/secrets/")),
                    f"{where}: {variable['name']} holds a secret",
                )


def check_service(where, name, deployment, settings):
    spec = deployment["spec"]["template"]["spec"]
    container = spec["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    words = " ".join([name, *(word for word in container.get("args", []) if not word.startswith("-"))])
    known = set(COMMANDS[words]) | TELEMETRY
    own = {variable["name"]: variable.get("value") for variable in container.get("env", [])}
    for variable in own:
        expect(variable in known, f"{where}: `{words}` knows no {variable}")
    given = settings | own
    expect(ports["admin"] == int(given["FLASHSALE_ADMIN_ADDR"].rsplit(":", 1)[1]), f"{where}: port of /metrics")
    listens = [value for variable, value in own.items() if variable.endswith("LISTEN")]
    expect(
        [ports.get("http")] == [int(value.rsplit(":", 1)[1]) for value in listens]
        or not listens
        and "http" not in ports,
        f"{where}: port",
    )
    for probe, path in (("startupProbe", "/startupz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
        expect(container.get(probe, {}).get("httpGet") == {"path": path, "port": "admin"}, f"{where}: {probe}")
    wait = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    probe = container["readinessProbe"]
    expect(wait > 0 or "http" not in ports, f"{where}: the listener closes before balancers hear of it")
    expect(
        "http" not in ports or wait >= probe["periodSeconds"] * probe["failureThreshold"],
        f"{where}: preStop is shorter than readiness takes",
    )
    grace, least = spec["terminationGracePeriodSeconds"], wait + drain(name)
    expect(grace > least, f"{where}: {grace} s to end, and preStop with the drain takes {least} s")
    expect(len(spec.get("topologySpreadConstraints", [])) == 2, f"{where}: pods may share a node or a zone")


def check_overlay(overlay, things):
    by = {(thing["kind"], thing["metadata"]["name"]): thing for thing in things}
    for (kind, name), thing in by.items():
        check_schema(f"{overlay}: {kind} {name}", thing)
        expect(kind != "Secret", f"{overlay}: Secret {name} is in the tree")
    for kind, name, pod in pods(things):
        check_pod(f"{overlay}: {kind} {name}", kind, pod)
    settings = by["ConfigMap", "flashsale-settings"]["data"] | by["ConfigMap", "flashsale-tokens"]["data"]
    everything = set().union(*COMMANDS.values()) | TELEMETRY
    for variable in settings:
        expect(variable in everything, f"{overlay}: no program knows {variable}")
    for name in SERVICES:
        check_service(f"{overlay}: {name}", name, by["Deployment", name], settings)
        budget = by.get(("PodDisruptionBudget", name), {}).get("spec", {})
        expect(
            budget.get("selector", {}).get("matchLabels", {}).get("app.kubernetes.io/name") == name,
            f"{overlay}: {name} has no disruption budget",
        )
        expect(("Service", f"{name}-metrics") in by, f"{overlay}: {name} is not scraped")
    deny = [policy["spec"] for (kind, _), policy in by.items() if kind == "NetworkPolicy"]
    expect({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in deny, f"{overlay}: not denied by default")
    profile = [
        thing["metadata"]["labels"].get("pod-security.kubernetes.io/enforce")
        for (kind, _), thing in by.items()
        if kind == "Namespace"
    ]
    expect(profile == ["restricted"], f"{overlay}: the namespace enforces no profile")
    if overlay != "dev":
        check_production(overlay, by, settings)
    if overlay == "sale-night":
        check_sale_night(by)


def check_production(overlay, by, settings):
    copies, in_sync = (int(settings[f"FLASHSALE_KAFKA_{name}"]) for name in ("REPLICATION", "MIN_INSYNC"))
    expect((copies, in_sync) == (3, 2), f"{overlay}: {copies} copies of a record, {in_sync} in sync")
    scaled = by["ScaledObject", "order-writer"]["spec"]
    partitions = int(settings["FLASHSALE_PARTITIONS"])
    crons = [int(trigger["metadata"]["desiredReplicas"]) for trigger in scaled["triggers"] if trigger["type"] == "cron"]
    for what, replicas in (
        ("most", scaled["maxReplicaCount"]),
        ("fallback", scaled["fallback"]["replicas"]),
        *(("cron", cron) for cron in crons),
    ):
        expect(replicas == partitions, f"{overlay}: {what} {replicas} order-writers for {partitions} partitions")
    expect(crons, f"{overlay}: order-writers do not grow before a sale")
    expect(scaled["minReplicaCount"] >= 2, f"{overlay}: one order-writer may not die")
    metrics = {line.split("\t")[0] for line in (ROOT / "ops/metrics.tsv").read_text().splitlines()}
    namespace = by["ScaledObject", "order-writer"]["metadata"]["namespace"]
    for trigger in scaled["triggers"]:
        query = trigger["metadata"].get("query", "")
        for metric in re.findall(r"flashsale_\w+", query):
            expect(metric in metrics, f"{overlay}: no program shows {metric}")
        expect(not query or f'deployment="{namespace}"' in query, f"{overlay}: the backlog of another deployment")
    bits = re.search(r"const WORKER_BITS: u32 = (\d+);", (ROOT / "domain/src/id.rs").read_text())
    engines = by["HorizontalPodAutoscaler", "engine"]["spec"]
    # A rollout with the surge of one pod, and leases that rest a minute after their end.
    expect(
        bits and 2 * engines["maxReplicas"] <= 1 << int(bits[1]),
        f"{overlay}: more engines than worker numbers, rollout included",
    )
    expect(engines["minReplicas"] >= 3, f"{overlay}: fewer engines than zones")
    for name in ("engine", "order-writer"):
        expect(
            "replicas" not in by["Deployment", name]["spec"],
            f"{overlay}: an apply sets how many {name} there are, and so does its scaler",
        )
    imports = re.search(
        r"FILE_BYTES_MAX: usize = (\d+) \* 1024 \* 1024;", (ROOT / "catalog/src/products/import.rs").read_text()
    )
    body = by["Ingress", "merchants"]["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"]
    expect(imports and bytes_of(body) == int(imports[1]) << 20, f"{overlay}: merchants' bodies of {body}")


def check_sale_night(by):
    for name in SERVICES:
        expect(by["Deployment", name]["spec"].get("paused") is True, f"sale-night: {name} may be rolled out")
        expect(by["PodDisruptionBudget", name]["spec"]["maxUnavailable"] == 0, f"sale-night: {name} may be evicted")
    down = [
        by["HorizontalPodAutoscaler", "engine"]["spec"]["behavior"]["scaleDown"],
        by["ScaledObject", "order-writer"]["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"][
            "scaleDown"
        ],
    ]
    expect(down == [{"selectPolicy": "Disabled"}] * 2, "sale-night: something may shrink")


def check_images():
    """The Dockerfile makes each image that a manifest names, from pinned versions."""
    text = (HERE / "Dockerfile").read_text()
    targets = set(re.findall(r"^FROM program AS (\S+)$", text, re.M))
    expect(targets == {*SERVICES, "tools"}, f"Dockerfile: targets are {sorted(targets)}")
    rust = re.search(r'rust-version = "([\d.]+)"', (ROOT / "Cargo.toml").read_text())[1]
    expect(re.search(rf"^ARG RUST={re.escape(rust)}\.\d+$", text, re.M), f"Dockerfile: rust is not {rust}")
    expect("USER 65532:65532" in text and "FROM scratch AS program" in text, "Dockerfile: images are not bare")
    members = re.search(r"^members = \[(.*)\]", (ROOT / "Cargo.toml").read_text(), re.M)[1]
    kept = (HERE / "Dockerfile.dockerignore").read_text().splitlines()
    for member in re.findall(r'"([^"]+)"', members):
        expect(f"!{member}" in kept, f"Dockerfile.dockerignore leaves out {member}, a member of the workspace")


def check_compose():
    compose = yaml.safe_load((HERE / "compose.yaml").read_text())
    for name in SERVICES:
        service = compose["services"][name]
        words = " ".join([name, *service.get("command", [])])
        expect(service["build"]["target"] == name, f"compose: {name} is built as another")
        expect(service["read_only"] and service["cap_drop"] == ["ALL"], f"compose: {name} is not confined")
        expect(
            int(service["stop_grace_period"].rstrip("s")) > drain(name), f"compose: {name} has too little time to end"
        )
        for variable, value in service["environment"].items():
            expect(variable in COMMANDS[words], f"compose: `{words}` knows no {variable}")
            if value.startswith("file:"):
                expect(
                    value.removeprefix("file:/run/secrets/") in service["secrets"],
                    f"compose: {name} is not given {value}",
                )
    for name, service in compose["services"].items():
        expect(re.search(r":[\d.]+$", service["image"]), f"compose: image {service['image']} has no version")
        for port in service.get("ports", []):
            expect(port.startswith("127.0.0.1:"), f"compose: {name} is open to the network")


def check_wrong(rendered):
    """Each manifest of wrong.py is complained of."""
    for overlay, kind, name, place, value, part in wrong.WRONG:
        things = copy.deepcopy(rendered[overlay])
        wrong.put(things, kind, name, place, value)
        before = list(failures)
        check_overlay(overlay, things)
        found = [failure for failure in failures if failure not in before]
        failures[:] = before
        expect(any(part in failure for failure in found), f"{overlay}: {kind} {name} with {place[-1]} {value!r} passes")


def main(kustomize):
    rendered = {overlay: render(kustomize, overlay) for overlay in OVERLAYS}
    if failures:
        print("\n".join(failures))
        return 1
    for overlay, things in rendered.items():
        check_overlay(overlay, things)
    check_wrong(rendered)
    check_images()
    check_compose()
    for failure in failures:
        print(failure)
    print(f"k8s: {len(failures)} failed" if failures else "k8s: all holds")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
