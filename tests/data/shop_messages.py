"""What a service publishes for its own tasks: with callbacks, and what no worker can use."""

from celery import chord
from shop import app, double, note_number


def nested(depth: int) -> list[object]:
    """Return a list in a list in a list."""
    value: list[object] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def publish_unusable() -> None:
    """Publish three messages that would end the worker, or its log."""
    double.apply_async([1], headers={"timelimit": [10**400, None]})
    double.apply_async([1], task_id="an id\n2026 forged")
    double.apply_async([nested(900)])


def publish() -> None:
    """Publish what calls back, chained, compressed, by tasks of Celery's own and in protocol 1."""
    double.apply_async([10], link=note_number.s(), shadow="a name\n2026 forged")
    (double.s(20) | note_number.s()).apply_async(compression="zlib")
    double.map([1]).apply_async()
    chord([double.s(100), double.s(200)])(note_number.s())
    app.conf.task_protocol = 1
    note_number.apply_async([7])


publish_unusable()
publish()
