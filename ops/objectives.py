"""What buyers are promised, how fast a broken promise uses up its budget, and the recording rules
that both are reckoned from.
"""

# Error budgets, in parts of one: a purchase is answered otherwise than by 5xx, 99.9 %; a promise
# waits at most 250 ms for its lane and at most 250 ms for the log, 99 %.
BUDGETS = {"buy_failed": 0.001, "accept_slow": 0.01}
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
# Burn rates by severity: rate, long window, short window. At 14.4 a month's budget lasts 50 h.
BURNS = {"page": ((14.4, "1h", "5m"), (6, "6h", "30m")), "ticket": ((3, "1d", "2h"), (1, "3d", "6h"))}
# Fewer failures than this in the long window are nobody's night: one of ten requests is 10 %.
FAILED_MIN = 10

FAILED = 'flashsale_requests_total{route="buy",status="5xx"}'
ASKED = 'flashsale_requests_total{route="buy"}'
IN_TIME = 'flashsale_stage_seconds_bucket{stage=~"reserve|append",le="0.25"}'
PROMISED = 'flashsale_stage_seconds_count{stage=~"reserve|append"}'


def rate_of(series, window, by="deployment"):
    return f"sum by ({by}) (rate({series}[{window}]))"


def recordings():
    """Name and expression of each recording rule."""
    by = "deployment, stage"
    for window in WINDOWS:
        yield f"flashsale:buy_failed:ratio_rate{window}", f"{rate_of(FAILED, window)}\n/ ({rate_of(ASKED, window)} > 0)"
        yield (
            f"flashsale:accept_slow:ratio_rate{window}",
            f"1 - {rate_of(IN_TIME, window, by)}\n/ ({rate_of(PROMISED, window, by)} > 0)",
        )
    yield (
        "flashsale:partitions_shown:count",
        "count by (deployment) (count by (deployment, partition) (flashsale_log_lag_records))",
    )
    yield (
        "flashsale:log_lag:seconds",
        "max by (deployment, partition) (flashsale_log_lag_records)\n"
        "/ (sum by (deployment, partition) (deriv(flashsale_ledger_next_offset[2m])) > 0)",
    )


def burn(name, severity, total, by):
    """Both windows of one of the burn rates, and more failures than a handful."""
    parts = []
    for rate, long, short in BURNS[severity]:
        over = " and ".join(
            f"flashsale:{name}:ratio_rate{window} > {rate} * {BUDGETS[name]}" for window in (long, short)
        )
        many = total.replace("WINDOW", long)
        parts.append(f"({over} and on ({by}) {many} > {FAILED_MIN})")
    return "\nor ".join(parts)
