"""Manifests that are wrong in one place each, and what checks.py must say of them: what it would
pass over in silence, it would pass over in a change too.
"""

POD = ("spec", "template", "spec")
FIRST = (*POD, "containers", 0)
SIZE = "nginx.ingress.kubernetes.io/proxy-body-size"

# Overlay, kind, name, place, what is put there, part of the complaint.
WRONG = (
    ("prod", "Deployment", "engine", ("spec", "replica"), 3, "Additional properties"),
    ("prod", "Deployment", "engine", (*POD, "terminationGracePeriodSeconds"), 30, "30 s to end"),
    ("prod", "Deployment", "order-writer", (*POD, "terminationGracePeriodSeconds"), 8, "8 s to end"),
    ("prod", "Deployment", "engine", (*FIRST, "lifecycle"), {}, "before balancers hear"),
    ("prod", "Deployment", "engine", (*FIRST, "readinessProbe", "periodSeconds"), 10, "preStop is shorter"),
    ("prod", "Deployment", "engine", (*FIRST, "livenessProbe", "httpGet", "path"), "/readyz", "livenessProbe"),
    ("prod", "Deployment", "engine", (*FIRST, "ports", 1, "containerPort"), 9000, "port of /metrics"),
    ("prod", "Deployment", "catalog", (*FIRST, "env", 2, "value"), "c2VjcmV0", "holds a secret"),
    ("prod", "Deployment", "catalog", (*FIRST, "env", 2, "name"), "FLASHSALE_OPERATOR", "knows no"),
    ("prod", "Deployment", "catalog", (*FIRST, "image"), "flashsale-catalog:latest", "has no version"),
    ("prod", "Deployment", "catalog", (*FIRST, "image"), "registry.example/catalog:1.0", "names a registry"),
    ("prod", "Deployment", "catalog", (*FIRST, "securityContext", "readOnlyRootFilesystem"), False, "root is writable"),
    ("prod", "Deployment", "orders", (*FIRST, "resources", "limits"), {}, "memory is unbounded"),
    ("prod", "Deployment", "orders", (*POD, "topologySpreadConstraints"), [], "share a node"),
    ("dev", "StatefulSet", "redis", (*POD, "securityContext", "runAsNonRoot"), False, "run as root"),
    ("prod", "PodDisruptionBudget", "engine", ("spec", "selector"), {}, "no disruption budget"),
    ("prod", "NetworkPolicy", "default-deny", ("spec", "policyTypes"), ["Ingress"], "not denied by default"),
    ("prod", "ConfigMap", "flashsale-settings", ("data", "FLASHSALE_PARTITION"), "4", "no program knows"),
    ("prod", "ConfigMap", "flashsale-settings", ("data", "FLASHSALE_PARTITIONS"), "8", "for 8 partitions"),
    ("prod", "ConfigMap", "flashsale-settings", ("data", "FLASHSALE_KAFKA_MIN_INSYNC"), "1", "1 in sync"),
    ("prod", "ScaledObject", "order-writer", ("spec", "maxReplicaCount"), 5, "5 order-writers"),
    ("prod", "ScaledObject", "order-writer", ("spec", "fallback", "replicas"), 2, "fallback 2"),
    (
        "prod",
        "ScaledObject",
        "order-writer",
        ("spec", "triggers", 0, "metadata", "query"),
        "sum(flashsale_lag)",
        "no program shows",
    ),
    (
        "prod",
        "ScaledObject",
        "order-writer",
        ("spec", "triggers", 0, "metadata", "sever"),
        "x",
        "Additional properties",
    ),
    ("prod", "ServiceMonitor", "flashsale", ("spec", "endpoints", 0, "prot"), "admin", "Additional properties"),
    ("prod", "HorizontalPodAutoscaler", "engine", ("spec", "maxReplicas"), 200, "worker numbers"),
    ("prod", "Ingress", "merchants", ("metadata", "annotations", SIZE), "1m", "bodies of 1m"),
    ("sale-night", "Deployment", "engine", ("spec", "paused"), False, "may be rolled out"),
    ("sale-night", "HorizontalPodAutoscaler", "engine", ("spec", "behavior", "scaleDown"), {}, "may shrink"),
    ("sale-night", "PodDisruptionBudget", "catalog", ("spec", "maxUnavailable"), 1, "may be evicted"),
)


def put(things, kind, name, place, value):
    """Puts the value in its place of the thing of this kind and name."""
    at = next(thing for thing in things if (thing["kind"], thing["metadata"]["name"]) == (kind, name))
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
