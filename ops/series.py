"""Series of the alerts' tests, as promtool writes them: values of one sample every 15 s."""


def constant(value):
    return f"{value}x80"


def grows(step):
    return f"0+{step}x80"


BUY = 'flashsale_requests_total{deployment="d",route="buy",status="%s"}'
STAGE = 'flashsale_stage_seconds_%s{deployment="d",stage="append"%s}'


def buys(failed, ok):
    return ((BUY % "5xx", grows(failed)), (BUY % "2xx", grows(ok)))


def promises(slow, in_time):
    return ((STAGE % ("bucket", ',le="0.25"'), grows(in_time)), (STAGE % ("count", ""), grows(slow + in_time)))


def counter(metric, labels, step, late=20):
    """Series of a counter that begins to rise after five minutes at rest."""
    return ((f"flashsale_{metric}{labels}", f"0x{late} {step}+{step}x60"),)


def at_rest(metric, labels):
    """A counter that stands still, however high: what happened once does not alarm for ever."""
    return ((f"flashsale_{metric}{labels}", constant(7)),)


def gauge(metric, labels, value):
    return ((f"flashsale_{metric}{labels}", constant(value)),)
