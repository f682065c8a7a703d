"""Alerts as data, each with the series that make it fire and those that leave it silent.
`ops/generate` writes the rules and promtool's tests from them.

Rules name no job: both deployments show the same metrics. `deployment` is a label of the target,
set where it is scraped; without it all of one Prometheus is one deployment. A ratio exists only
while something is asked for, so an idle shop has no ratio, and no ratio never fires.
"""

from typing import NamedTuple

from objectives import FAILED, IN_TIME, PROMISED, burn
from series import at_rest, buys, constant, counter, gauge, grows, promises

SECOND = 15  # between two samples of a test, and between two evaluations


class Alert(NamedTuple):
    """An alert. `fires` and `quiet` are series of a test, judged at the minute `at`."""

    name: str
    severity: str  # page: somebody gets up; ticket: somebody looks in the morning
    after: str  # how long it holds before it fires
    expr: str
    summary: str  # names labels only, never a value that changes
    runbook: str
    labels: dict  # of the alert that fires in the test
    fires: tuple
    quiet: tuple
    at: int = 10


def above(metric, by, bound=0):
    return f"max by (deployment, {by}) (flashsale_{metric}) > {bound}"


def rose(metric, window="10m", bound=0, by="deployment"):
    return f"sum by ({by}) (increase(flashsale_{metric}[{window}])) > {bound}"


D = {"deployment": "d"}
LANE, PART = '{deployment="d",lane="5001"}', '{deployment="d",partition="3"}'
ANY = '{deployment="d"}'
CONSUMER = {"deployment": "d", "consumer": "order_list"}
PARKS, NEWER = (f'{{deployment="d",consumer="order_list",outcome="{outcome}"}}' for outcome in ("parked", "newer"))
FAILURES = "sum by (deployment) (increase(" + FAILED + "[WINDOW]))"
LATE = (
    "(sum by (deployment, stage) (increase(" + PROMISED + "[WINDOW]))\n"
    "    - sum by (deployment, stage) (increase(" + IN_TIME + "[WINDOW])))"
)
FULL = ('flashsale_pool_waiting{deployment="d",pool="orders",instance="a"}', "0x4 3x80")

ALERTS = [
    # What buyers feel.
    Alert(
        "BuyFailing",
        "page",
        "0m",
        burn("buy_failed", "page", FAILURES, "deployment"),
        "Purchases are answered with 5xx; the month's budget goes within two days",
        "buy-failing",
        D,
        buys(30, 970),
        buys(0, 1000),
    ),
    Alert(
        "BuyFailingSlowly",
        "ticket",
        "0m",
        burn("buy_failed", "ticket", FAILURES, "deployment"),
        "More purchases are answered with 5xx than a month may have",
        "buy-failing",
        D,
        buys(4, 996),
        buys(0, 0),
    ),
    Alert(
        "AcceptSlow",
        "page",
        "0m",
        burn("accept_slow", "page", LATE, "deployment, stage"),
        "Buyers wait over 250 ms at the stage {{ $labels.stage }}",
        "accept-slow",
        D | {"stage": "append"},
        promises(300, 700),
        promises(1, 999),
    ),
    Alert(
        "AcceptSlowly",
        "ticket",
        "0m",
        burn("accept_slow", "ticket", LATE, "deployment, stage"),
        "More promises than a month may have wait over 250 ms at the stage {{ $labels.stage }}",
        "accept-slow",
        D | {"stage": "append"},
        promises(50, 950),
        promises(0, 0),
    ),
    Alert(
        "PromisesPending",
        "page",
        "1m",
        "sum by (deployment) (rate(flashsale_pending_total[1m]))\n"
        "> 0.05 * sum by (deployment) (rate(flashsale_accepted_total[1m]) + rate(flashsale_pending_total[1m]))",
        "The log acknowledges too late: buyers hear pending",
        "promises-pending",
        D,
        (("flashsale_pending_total" + ANY, grows(10)), ("flashsale_accepted_total" + ANY, grows(90))),
        (("flashsale_pending_total" + ANY, constant(500)), ("flashsale_accepted_total" + ANY, grows(90))),
    ),
    Alert(
        "Overloaded",
        "ticket",
        "1m",
        'sum by (deployment) (rate(flashsale_refusals_total{code="overloaded"}[1m])) > 1',
        "Engines refuse buyers for want of permits",
        "overloaded",
        D,
        (('flashsale_refusals_total{deployment="d",code="overloaded"}', grows(60)),),
        (('flashsale_refusals_total{deployment="d",code="sold_out"}', grows(9000)),),
    ),
    # What must never be.
    Alert(
        "Oversold",
        "page",
        "0m",
        above("oversold_units", "lane"),
        "Lane {{ $labels.lane }} sold more than its allotment",
        "oversold",
        D | {"lane": "5001"},
        gauge("oversold_units", LANE, 1),
        gauge("oversold_units", LANE, 0),
    ),
    Alert(
        "StockDrift",
        "page",
        "1m",
        above("stock_drift_units", "lane"),
        "Lane {{ $labels.lane }} at rest does not hold what the ledger says",
        "stock-drift",
        D | {"lane": "5001"},
        gauge("stock_drift_units", LANE, 2),
        gauge("stock_drift_units", LANE, "0x30 2x1 0"),
    ),
    Alert(
        "BrokenPromises",
        "page",
        "0m",
        rose("broken_promises_total"),
        "Promises of the stock server did not hold",
        "broken-promises",
        D,
        counter("broken_promises_total", ANY, 1),
        at_rest("broken_promises_total", ANY),
    ),
    Alert(
        "LostUnits",
        "page",
        "0m",
        above("lost_units", "partition"),
        "Units of partition {{ $labels.partition }} are sold and no row has them",
        "lost-units",
        D | {"partition": "3"},
        gauge("lost_units", PART, 4),
        gauge("lost_units", PART, 0),
    ),
    Alert(
        "LogRecovered",
        "page",
        "0m",
        rose("log_recoveries_total", "30m"),
        "The order log lost records and a new generation began",
        "log-recovered",
        D,
        counter("log_recoveries_total", ANY, 1),
        at_rest("log_recoveries_total", ANY),
    ),
    # The way from a promise to its row.
    Alert(
        "PartitionStalled",
        "page",
        "15s",
        above("partition_stalled_seconds", "partition", 5),
        "Partition {{ $labels.partition }} has records and is not decided",
        "partition-stalled",
        D | {"partition": "3"},
        gauge("partition_stalled_seconds", PART, 30),
        gauge("partition_stalled_seconds", PART, 0) + gauge("log_lag_records", PART, 0),
    ),
    Alert(
        "PartitionUnowned",
        "page",
        "1m",
        "max_over_time(flashsale:partitions_shown:count[1h])\n"
        "> (flashsale:partitions_shown:count or 0 * max_over_time(flashsale:partitions_shown:count[1h]))",
        "No order-writer shows a partition that one showed within the hour",
        "partition-unowned",
        D,
        (("flashsale_log_lag_records" + PART, "0x20 stale"),),
        (
            ("flashsale_log_lag_records" + PART, "0x20 stale"),
            ('flashsale_log_lag_records{deployment="d",partition="3",instance="other"}', "_x20 0x60"),
        ),
    ),
    Alert(
        "WriterStuck",
        "ticket",
        "0m",
        rose("writer_halts_total", "10m", 5, "deployment, cause"),
        "Partitions are read anew again and again: {{ $labels.cause }}",
        "writer-stuck",
        D | {"cause": "sql"},
        counter("writer_halts_total", '{deployment="d",cause="sql"}', 1, 10),
        at_rest("writer_halts_total", '{deployment="d",cause="sql"}'),
    ),
    Alert(
        "LogLag",
        "page",
        "1m",
        "flashsale:log_lag:seconds > 30",
        "Partition {{ $labels.partition }} is more than 30 s behind at its present pace",
        "log-lag",
        D | {"partition": "3"},
        gauge("log_lag_records", PART, 9000) + (("flashsale_ledger_next_offset" + PART, grows(150)),),
        gauge("log_lag_records", PART, 0) + gauge("ledger_next_offset", PART, 4000),
    ),
    Alert(
        "JournalOld",
        "page",
        "30s",
        above("journal_overdue_seconds", "lane", 10),
        "Promises of lane {{ $labels.lane }} wait for the sweeper",
        "journal-old",
        D | {"lane": "5001"},
        gauge("journal_overdue_seconds", LANE, 25),
        gauge("journal_overdue_seconds", LANE, 1),
    ),
    Alert(
        "JournalFull",
        "page",
        "1m",
        "sum by (deployment) (rate(flashsale_journal_full_total[1m])) > 0",
        "Lanes promise nothing more: their journals are full",
        "log-lag",
        D,
        counter("journal_full_total", ANY, 5),
        at_rest("journal_full_total", ANY),
    ),
    Alert(
        "LaneClosed",
        "page",
        "30s",
        "max by (deployment, lane) (flashsale_lane_open) == 0",
        "Lane {{ $labels.lane }} is closed: its buyers hear temporarily_unavailable",
        "lane-closed",
        D | {"lane": "5001"},
        gauge("lane_open", LANE, 0),
        gauge("lane_open", LANE, 1) + (('flashsale_lane_open{deployment="d",lane="5002"}', "1x10 stale"),),
    ),
    Alert(
        "LaneAside",
        "ticket",
        "0m",
        rose("lanes_set_aside_total"),
        "A lane was left alone because its stock answers nonsense",
        "lane-closed",
        D,
        counter("lanes_set_aside_total", ANY, 1),
        at_rest("lanes_set_aside_total", ANY),
    ),
    Alert(
        "RecordsParked",
        "ticket",
        "0m",
        rose("dead_letters_total", "30m"),
        "Records of the order log were parked",
        "parked",
        D,
        counter("dead_letters_total", ANY, 1),
        at_rest("dead_letters_total", ANY),
    ),
    Alert(
        "ReleasesParked",
        "ticket",
        "0m",
        rose("releases_parked_total", "30m"),
        "Units of cancelled orders did not go back on sale",
        "parked",
        D,
        counter("releases_parked_total", ANY, 1),
        at_rest("releases_parked_total", ANY),
    ),
    Alert(
        "ConsumerParked",
        "ticket",
        "0m",
        rose('consumer_records_total{outcome="parked"}', "30m", by="deployment, consumer"),
        "The consumer {{ $labels.consumer }} put records of a topic aside",
        "consumer-records",
        CONSUMER,
        counter("consumer_records_total", PARKS, 1),
        at_rest("consumer_records_total", PARKS),
    ),
    Alert(
        "ConsumerWaits",
        "ticket",
        "2m",
        rose('consumer_records_total{outcome="newer"}', "2m", by="deployment, consumer"),
        "The consumer {{ $labels.consumer }} waits for a newer program",
        "consumer-records",
        CONSUMER,
        counter("consumer_records_total", NEWER, 30),
        at_rest("consumer_records_total", NEWER),
    ),
    Alert(
        "StockUnknown",
        "ticket",
        "2m",
        "sum by (deployment) (rate(flashsale_reserve_unknown_total[2m])) > 0.1",
        "The stock server does not answer in time",
        "stock-away",
        D,
        (("flashsale_reserve_unknown_total" + ANY, grows(15)),),
        at_rest("reserve_unknown_total", ANY),
    ),
    # Processes and what they share.
    Alert(
        "ProcessAway",
        "ticket",
        "2m",
        'up{job=~"flashsale.*"} == 0',
        "{{ $labels.instance }} of {{ $labels.job }} does not answer Prometheus",
        "process-away",
        {"job": "flashsale-engine", "instance": "a"},
        (('up{job="flashsale-engine",instance="a"}', constant(0)),),
        (('up{job="other",instance="a"}', constant(0)),),
    ),
    Alert(
        "EnginesMissing",
        "ticket",
        "1m",
        "max by (deployment) (flashsale_engines_live) < count by (deployment) (flashsale_engines_live)",
        "An engine runs without a worker number",
        "engines-missing",
        D,
        tuple((f'flashsale_engines_live{{deployment="d",instance="{name}"}}', constant(1)) for name in "ab"),
        tuple((f'flashsale_engines_live{{deployment="d",instance="{name}"}}', constant(2)) for name in "ab"),
    ),
    Alert(
        "Restarting",
        "ticket",
        "0m",
        'changes(process_start_time_seconds{job=~"flashsale.*"}[15m]) > 2',
        "{{ $labels.instance }} of {{ $labels.job }} starts again and again",
        "process-away",
        {"job": "flashsale-engine", "instance": "a"},
        (('process_start_time_seconds{job="flashsale-engine",instance="a"}', "0x8 1x8 2x8 3x40"),),
        (('process_start_time_seconds{job="flashsale-engine",instance="a"}', "0x8 1x80"),),
    ),
    Alert(
        "FilesExhausted",
        "ticket",
        "1m",
        'process_open_fds{job=~"flashsale.*"} / process_max_fds > 0.8',
        "{{ $labels.instance }} has nearly all files open that it may",
        "overloaded",
        {"job": "flashsale-engine", "instance": "a"},
        tuple(
            (f'process_{name}_fds{{job="flashsale-engine",instance="a"}}', constant(value))
            for name, value in (("open", 950), ("max", 1000))
        ),
        tuple(
            (f'process_{name}_fds{{job="flashsale-engine",instance="a"}}', constant(value))
            for name, value in (("open", 50), ("max", 1000))
        ),
    ),
    Alert(
        "PoolExhausted",
        "ticket",
        "0m",
        "min_over_time(flashsale_pool_waiting[1m]) > 0",
        "{{ $labels.instance }} waits for connections of the pool {{ $labels.pool }}",
        "pool-exhausted",
        {"deployment": "d", "pool": "orders", "instance": "a"},
        (FULL,),
        (('flashsale_pool_waiting{deployment="d",pool="orders",instance="a"}', "0x38 9x1 0x60"),),
    ),
    Alert(
        "StoreBroken",
        "ticket",
        "1m",
        'sum by (deployment, database) (rate(flashsale_sql_statements_total{outcome="broken"}[2m])) > 0\n'
        'or sum by (deployment) (rate(flashsale_stock_calls_total{outcome="broken"}[2m])) > 0',
        "A store answers what only a person can mend",
        "store-broken",
        D | {"database": "ledger"},
        counter("sql_statements_total", '{deployment="d",database="ledger",outcome="broken"}', 2),
        (('flashsale_sql_statements_total{deployment="d",database="ledger",outcome="answered"}', grows(500)),),
    ),
    # Commissions.
    Alert(
        "CommissionsParked",
        "ticket",
        "0m",
        "max by (deployment) (flashsale_commission_events_parked) > 0",
        "Events of orders contradict the ledger of commissions and are put aside",
        "commissions-late",
        D,
        gauge("commission_events_parked", ANY, 1),
        gauge("commission_events_parked", ANY, 0),
    ),
    Alert(
        "CommissionsBehind",
        "ticket",
        "5m",
        "min by (deployment, partition) (flashsale_commission_records_behind) > 5000",
        "The events of partition {{ $labels.partition }} are not taken in by any service of commissions",
        "commissions-late",
        D | {"partition": "3"},
        gauge("commission_records_behind", PART, 9000),
        gauge("commission_records_behind", PART, "0x8 9000x8 0"),
    ),
    Alert(
        "CommissionsLate",
        "ticket",
        "5m",
        "max by (deployment) (flashsale_commission_events_waiting_seconds) > 600\n"
        "or max by (deployment) (flashsale_commission_maturing_lag_seconds) > 300",
        "Commissions wait for an event that does not come, or do not mature",
        "commissions-late",
        D,
        gauge("commission_maturing_lag_seconds", ANY, 900),
        gauge("commission_maturing_lag_seconds", ANY, 100),
    ),
    # Sales and money.
    Alert(
        "SalesParked",
        "ticket",
        "0m",
        "max by (deployment) (flashsale_sales_parked) > 0",
        "A publication contradicts what is published",
        "sales-contradict",
        D,
        gauge("sales_parked", ANY, 1),
        gauge("sales_parked", ANY, 0),
    ),
    Alert(
        "SalesContradict",
        "page",
        "30s",
        "max by (deployment) (flashsale_sales_contradictions) > 0",
        "Offers are not sold because two sales claim them",
        "sales-contradict",
        D,
        gauge("sales_contradictions", ANY, 2),
        gauge("sales_contradictions", ANY, 0),
    ),
    Alert(
        "SalesNotReady",
        "page",
        "0m",
        "max by (deployment) (flashsale_sales_not_ready) > 0",
        "A sale opens within ten minutes and has red findings",
        "sales-not-ready",
        D,
        gauge("sales_not_ready", ANY, 1),
        gauge("sales_not_ready", ANY, 0),
    ),
    Alert(
        "SalesLate",
        "page",
        "2m",
        "max by (deployment) (flashsale_sales_late) > 0",
        "Changes of published sales are due and not published",
        "sales-late",
        D,
        gauge("sales_late", ANY, 1),
        gauge("sales_late", ANY, "0x20 1x4 0"),
    ),
    Alert(
        "ActionsLate",
        "page",
        "2m",
        "max by (deployment) (flashsale_sale_actions_late) > 0",
        "Scheduled actions are due and not done",
        "sales-late",
        D,
        gauge("sale_actions_late", ANY, 1),
        gauge("sale_actions_late", ANY, 0),
    ),
    Alert(
        "ActionsFailed",
        "ticket",
        "0m",
        "max by (deployment) (flashsale_sale_actions_failed) > 0",
        "Scheduled actions failed for good",
        "actions-failed",
        D,
        gauge("sale_actions_failed", ANY, 1),
        gauge("sale_actions_failed", ANY, 0),
    ),
    Alert(
        "ExpiryLate",
        "page",
        "1m",
        # Any process that keeps up is enough: each of them looks at all shards.
        "min by (deployment) (flashsale_expiry_behind_seconds) > 60",
        "Unpaid orders are not expired in time; their units stay away from buyers",
        "expiry-late",
        D,
        (
            ('flashsale_expiry_behind_seconds{deployment="d",instance="a"}', "0+15x80"),
            ('flashsale_expiry_behind_seconds{deployment="d",instance="b"}', "90+15x80"),
        ),
        (
            ('flashsale_expiry_behind_seconds{deployment="d",instance="a"}', "0+15x80"),
            ('flashsale_expiry_behind_seconds{deployment="d",instance="b"}', constant(1)),
        ),
    ),
    Alert(
        "CertificateEnds",
        "ticket",
        "5m",
        # Without a certificate there is no such metric, and nothing fires.
        "min by (deployment) (flashsale_payment_certificate_left_seconds) < 14 * 86400",
        "A certificate of a payment provider ends within two weeks",
        "keys-old",
        D,
        gauge("payment_certificate_left_seconds", ANY, 13 * 86_400),
        gauge("payment_certificate_left_seconds", ANY, 15 * 86_400),
    ),
    Alert(
        "SigningKeyOld",
        "ticket",
        "5m",
        # Thirty days, and one in which the next round makes the next key by itself.
        "max by (deployment) (flashsale_signing_key_age_seconds) > 31 * 86400",
        "The key that signs people's tokens has no successor",
        "keys-old",
        D,
        gauge("signing_key_age_seconds", ANY, 32 * 86_400),
        gauge("signing_key_age_seconds", ANY, 30 * 86_400),
    ),
    Alert(
        "HousekeepingFailing",
        "ticket",
        "0m",
        rose("housekeeping_failures_total", "10m", 3),
        "Rounds of the catalog's housekeeping fail",
        "housekeeping-failing",
        D,
        counter("housekeeping_failures_total", ANY, 1, 10),
        at_rest("housekeeping_failures_total", ANY),
    ),
    Alert(
        "NoticesFailing",
        "page",
        "1m",
        'sum by (deployment) (rate(flashsale_requests_total{route="payment_notice",status=~"4xx|5xx"}[5m]))\n'
        '> 0.1 * sum by (deployment) (rate(flashsale_requests_total{route="payment_notice"}[5m]))',
        "Notices of payment are not taken; the providers send them again",
        "notices-failing",
        D,
        tuple(
            (f'flashsale_requests_total{{deployment="d",route="payment_notice",status="{status}"}}', grows(20))
            for status in ("2xx", "5xx")
        ),
        (('flashsale_requests_total{deployment="d",route="payment_notice",status="2xx"}', grows(20)),),
    ),
    Alert(
        "NoticesMisfit",
        "ticket",
        "0m",
        rose('payment_notices_total{outcome="misfit"}', "30m", 0, "deployment, provider"),
        "{{ $labels.provider }} tells of payments that are not what was asked for",
        "notices-failing",
        D | {"provider": "wechat"},
        counter("payment_notices_total", '{deployment="d",provider="wechat",outcome="misfit"}', 1),
        at_rest("payment_notices_total", '{deployment="d",provider="wechat",outcome="misfit"}'),
    ),
    Alert(
        "ShippingsUntold",
        "ticket",
        "5m",
        # Each process counts all shards.
        "max by (deployment, shard) (flashsale_shipping_uploads_near_limit) > 0",
        "WeChat is not told of goods whose 48 hours are nearly over; their money stays frozen",
        "shippings-untold",
        D | {"shard": "0"},
        gauge("shipping_uploads_near_limit", '{deployment="d",shard="0"}', 2),
        gauge("shipping_uploads_near_limit", '{deployment="d",shard="0"}', 0),
    ),
]
