"""Dashboards as data: rows of panels, each a title, a unit, queries with their legends, and the
runbook that says what to do. `ops/generate` writes Grafana's classic JSON from them.

Queries name `$deployment`, a label of the target; where no target has it, the variable is empty
and matches all. A query that finds nothing draws nothing: nowhere stands `or vector(0)`.
"""

from typing import NamedTuple

D = 'deployment=~"$deployment"'


class Panel(NamedTuple):
    """A panel. `kind` is Grafana's: timeseries, or stat for a single figure."""

    title: str
    unit: str  # one of Grafana's ids
    queries: tuple  # (expression, legend)
    runbook: str = ""
    kind: str = "timeseries"
    red: float | None = None  # the threshold from which it is drawn red


def rate(metric, by="", **labels):
    chosen = "".join(f",{name}{value}" for name, value in labels.items())
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate(flashsale_{metric}{{{D}{chosen}}}[$__rate_interval]))"


def quantile(share, metric, by="", **labels):
    chosen = "".join(f",{name}{value}" for name, value in labels.items())
    grouped = f"le, {by}" if by else "le"
    buckets = f"flashsale_{metric}_bucket{{{D}{chosen}}}"
    return f"histogram_quantile({share}, sum by ({grouped}) (rate({buckets}[$__rate_interval])))"


def top(metric, by="", how="max"):
    grouped = f" by ({by})" if by else ""
    return f"{how}{grouped} (flashsale_{metric}{{{D}}})"


def recorded(name, by=""):
    return f"flashsale:{name}{{{D}}}"


def one(query, legend=""):
    return ((query, legend),)


ACCEPTED = Panel(
    "Accepted and pending",
    "ops",
    ((rate("accepted_total"), "accepted"), (rate("pending_total"), "pending")),
    "promises-pending",
)
OVERSOLD = Panel("Oversold units", "short", one(top("oversold_units")), "oversold", "stat", 1)
LAG_SECONDS = Panel(
    "Seconds behind, by partition", "s", one(recorded("log_lag:seconds"), "{{partition}}"), "log-lag", red=30
)
STALLED = Panel(
    "Seconds not decided, by partition",
    "s",
    one(top("partition_stalled_seconds", "partition"), "{{partition}}"),
    "partition-stalled",
    red=5,
)
STAGES = Panel(
    "Stages of a purchase, p99",
    "s",
    one(quantile(0.99, "stage_seconds", "stage"), "{{stage}}"),
    "accept-slow",
    red=0.25,
)
FAILED = Panel(
    "Purchases answered 5xx", "percentunit", one(recorded("buy_failed:ratio_rate5m"), "5 min"), "buy-failing", red=0.001
)
REFUSALS = Panel("Refusals by code", "ops", one(rate("refusals_total", "code") + " > 0", "{{code}}"), "overloaded")
POOLS = Panel(
    "Waiting for a connection, by pool",
    "short",
    one(top("pool_waiting", "pool", "sum"), "{{pool}}"),
    "pool-exhausted",
    red=1,
)
CPU = Panel(
    "CPU, cores by process",
    "short",
    one(f"sum by (job, instance) (rate(process_cpu_seconds_total{{{D}}}[$__rate_interval]))", "{{job}} {{instance}}"),
)
MEMORY = Panel(
    "Memory by process",
    "bytes",
    one(f"sum by (job, instance) (process_resident_memory_bytes{{{D}}})", "{{job}} {{instance}}"),
)
DECIDED = Panel("Decided, by outcome", "ops", one(rate("decisions_total", "outcome"), "{{outcome}}"))
LANES = Panel("Lane open", "bool", one(top("lane_open", "lane"), "{{lane}}"), "lane-closed")
DRIFT = Panel("Drift at rest, units", "short", one(top("stock_drift_units", "lane"), "{{lane}}"), "stock-drift", red=1)
BROKEN = Panel(
    "Broken promises, last hour",
    "short",
    one(f"sum (increase(flashsale_broken_promises_total{{{D}}}[1h]))"),
    "broken-promises",
    "stat",
    1,
)
LOST = Panel("Lost units", "short", one(top("lost_units", how="sum")), "lost-units", "stat", 1)

DASHBOARDS = [
    (
        "flashsale-night",
        "Night of the sale",
        [ACCEPTED, FAILED, STAGES, OVERSOLD, BROKEN, LOST, LAG_SECONDS, STALLED, REFUSALS, LANES],
    ),
    (
        "flashsale-engine",
        "Engine",
        [
            Panel(
                "Requests by route", "ops", one(rate("requests_total", "route") + " > 0", "{{route}}"), "buy-failing"
            ),
            Panel(
                "Answers of purchases, by status",
                "ops",
                one(rate("requests_total", "status", route='="buy"'), "{{status}}"),
                "buy-failing",
            ),
            Panel(
                "Purchase, from head to answer",
                "s",
                tuple((quantile(q, "request_seconds", route='="buy"'), f"p{q * 100:g}") for q in (0.5, 0.99)),
                "accept-slow",
                red=0.25,
            ),
            STAGES,
            Panel(
                "Slow promises, share over 5 min",
                "percentunit",
                one(recorded("accept_slow:ratio_rate5m"), "{{stage}}"),
                "accept-slow",
                red=0.01,
            ),
            Panel("Reserve call, p99", "s", one(quantile(0.99, "reserve_seconds"), "p99"), "stock-away"),
            Panel("Buyers in a reserve call, median", "short", one(quantile(0.5, "reserve_batch_size"), "median")),
            Panel("Append, p99", "s", one(quantile(0.99, "append_seconds"), "p99"), "promises-pending"),
            Panel("Purchases under way", "short", one(top("permits_in_use", "instance"), "{{instance}}"), "overloaded"),
            Panel(
                "Lane calls that went wrong",
                "ops",
                (
                    (rate("reserve_unknown_total"), "unknown"),
                    (rate("reserve_unsent_total"), "unsent"),
                    (rate("lanes_closed_total"), "lane closed"),
                ),
                "stock-away",
            ),
            Panel("Tokens by memory", "ops", one(rate("token_checks_total", "memory"), "{{memory}}")),
            Panel(
                "Connections open",
                "short",
                one(top("http_connections_open", "job, instance"), "{{job}} {{instance}}"),
                "overloaded",
            ),
            Panel("Engines with a worker number", "short", one(top("engines_live")), "engines-missing", "stat"),
            CPU,
            MEMORY,
        ],
    ),
    (
        "flashsale-orders",
        "Order pipeline",
        [
            Panel(
                "Records not decided, by partition",
                "short",
                one(top("log_lag_records", "partition"), "{{partition}}"),
                "log-lag",
            ),
            LAG_SECONDS,
            STALLED,
            Panel("Partitions shown", "short", one(recorded("partitions_shown:count")), "partition-unowned", "stat"),
            DECIDED,
            Panel("Rows written", "ops", one(rate("rows_written_total", "outcome"), "{{outcome}}")),
            Panel("Decided together, p99", "s", one(quantile(0.99, "span_seconds"), "p99"), "log-lag"),
            Panel("Steps of it, p99", "s", one(quantile(0.99, "span_stage_seconds", "stage"), "{{stage}}"), "log-lag"),
            Panel(
                "Partitions read anew, by cause",
                "ops",
                one(rate("writer_halts_total", "cause"), "{{cause}}"),
                "writer-stuck",
            ),
            Panel(
                "Records given to the log",
                "ops",
                one(rate("log_records_total", "outcome"), "{{outcome}}"),
                "promises-pending",
            ),
            Panel(
                "Round trip to the log, p99",
                "s",
                one(top("log_round_trip_seconds", "job").replace("{", '{quantile="0.99",'), "{{job}}"),
                "promises-pending",
            ),
            Panel(
                "Parked in 24 hours",
                "short",
                (
                    (f"sum (increase(flashsale_dead_letters_total{{{D}}}[1d]))", "records"),
                    (f"sum (increase(flashsale_releases_parked_total{{{D}}}[1d]))", "releases"),
                    (f'sum (increase(flashsale_consumer_records_total{{{D},outcome="parked"}}[1d]))', "of consumers"),
                ),
                "parked",
                "stat",
                1,
            ),
            POOLS,
            Panel(
                "Statements, by what came of them",
                "ops",
                one(rate("sql_statements_total", "database, outcome"), "{{database}} {{outcome}}"),
                "store-broken",
            ),
        ],
    ),
    (
        "flashsale-stock",
        "Stock and invariants",
        [
            OVERSOLD,
            BROKEN,
            LOST,
            DRIFT,
            LANES,
            Panel(
                "Batches in the journal, by lane",
                "short",
                one(top("journal_batches", "lane"), "{{lane}}"),
                "journal-old",
            ),
            Panel(
                "Oldest that is due, by lane",
                "s",
                one(top("journal_overdue_seconds", "lane"), "{{lane}}"),
                "journal-old",
                red=10,
            ),
            Panel("Lanes full, refusals", "ops", one(rate("journal_full_total")), "log-lag"),
            Panel(
                "Swept",
                "ops",
                ((rate("sweep_claimed_total"), "claimed"), (rate("sweep_appended_total"), "appended")),
                "journal-old",
            ),
            Panel(
                "Lanes rebuilt and retired, last hour",
                "short",
                tuple(
                    (f"sum (increase(flashsale_lane_{what}_total{{{D}}}[1h]))", what)
                    for what in ("rebuilds", "retirements")
                ),
                "lane-closed",
            ),
            Panel(
                "Lanes set aside, last hour",
                "short",
                one(f"sum (increase(flashsale_lanes_set_aside_total{{{D}}}[1h]))"),
                "lane-closed",
                "stat",
                1,
            ),
            Panel(
                "Rows written again, last hour",
                "short",
                tuple(
                    (f"sum (increase(flashsale_rows_{what}_total{{{D}}}[1h]))", what)
                    for what in ("rewritten", "rebuilt")
                ),
                "lost-units",
            ),
            Panel(
                "Calls of the stock server",
                "ops",
                one(rate("stock_calls_total", "outcome"), "{{outcome}}"),
                "stock-away",
            ),
            Panel(
                "Sales that contradict",
                "short",
                ((top("sales_parked"), "parked"), (top("sales_contradictions"), "offers left out")),
                "sales-contradict",
                "stat",
                1,
            ),
        ],
    ),
    (
        "flashsale-payments",
        "Payments",
        [
            Panel(
                "Notices, by what they came to",
                "ops",
                one(rate("payment_notices_total", "provider, outcome"), "{{provider}} {{outcome}}"),
                "notices-failing",
            ),
            Panel(
                "Answers to notices, by status",
                "ops",
                one(rate("requests_total", "status", route='="payment_notice"'), "{{status}}"),
                "notices-failing",
            ),
            Panel(
                "Notice, from head to answer, p99",
                "s",
                one(quantile(0.99, "request_seconds", route='="payment_notice"'), "p99"),
                "notices-failing",
                red=5,
            ),
            Panel(
                "Requests to pay, by status",
                "ops",
                one(rate("requests_total", "status", route='="pay_order"'), "{{status}}"),
                "notices-failing",
            ),
            Panel(
                "Refunds asked for, by status",
                "ops",
                one(rate("requests_total", "status", route='="refund_order"'), "{{status}}"),
                "notices-failing",
            ),
            Panel(
                "Releases on their way, parked",
                "ops",
                ((rate("releases_relayed_total"), "relayed"), (rate("releases_parked_total"), "parked")),
                "parked",
            ),
        ],
    ),
    (
        "flashsale-tenants",
        "Tenants",
        [
            Panel(
                "Refused by a limit, by whose",
                "ops",
                one(rate("rate_limited_total", "policy"), "{{policy}}"),
                "overloaded",
            ),
            Panel(
                "Refused by plan or permission",
                "ops",
                one(
                    rate("refusals_total", "code", code='=~"quota_exceeded|rate_limited|forbidden|unauthenticated"'),
                    "{{code}}",
                ),
                "overloaded",
            ),
            Panel(
                "Merchants' requests, by route",
                "ops",
                one(
                    rate("requests_total", "route", route='!~"buy|order|sale|sales|time|orders"') + " > 0", "{{route}}"
                ),
            ),
            Panel(
                "Merchants' errors",
                "ops",
                one(
                    rate("requests_total", "route", route='!~"buy|order|sale|sales|time|orders"', status='="5xx"')
                    + " > 0",
                    "{{route}}",
                ),
                "store-broken",
            ),
            Panel(
                "Actions on sales", "ops", one(rate("sale_actions_total", "outcome"), "{{outcome}}"), "actions-failed"
            ),
            Panel(
                "Actions late, failed; sales late, not ready",
                "short",
                tuple(
                    (top(name), name.replace("_", " "))
                    for name in ("sale_actions_late", "sale_actions_failed", "sales_late", "sales_not_ready")
                ),
                "sales-not-ready",
                red=1,
            ),
            Panel(
                "Pages written and packed",
                "ops",
                ((rate("pages_written_total"), "written"), (rate("pages_packed_total"), "packed")),
            ),
            Panel(
                "Housekeeping failed, last hour",
                "short",
                one(f"sum (increase(flashsale_housekeeping_failures_total{{{D}}}[1h]))"),
                "housekeeping-failing",
                "stat",
                1,
            ),
        ],
    ),
]
