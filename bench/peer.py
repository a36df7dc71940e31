"""The rebuild of the benchmark with eventsource-py: SQLite store, one get and one save for each event.

Prints the seconds from the start of the subscription to the last event. Its checkpoints stay in memory and its read
model commits by itself, so it promises less than what it is compared with.
"""

import asyncio
import logging
import sys
import time
from uuid import UUID

import aiosqlite
from eventsource import DomainEvent, InMemoryCheckpointRepository, InMemoryEventBus, register_event
from eventsource.adapters.sql.readmodel_schema import generate_schema
from eventsource.adapters.sqlite.readmodels import SQLiteReadModelRepository
from eventsource.adapters.sqlite.store import SQLiteEventStore
from eventsource.application.subscriptions import SubscriptionManager
from eventsource.application.subscriptions.config import create_catch_up_config
from eventsource.ports.readmodels.model import ReadModel
from eventsource.domain.stream_id import StreamId
from eventsource.ports.positions import ExpectedVersion

PER_APPLICATION = 20


@register_event
class LoanEvent(DomainEvent):
    event_type: str = "LoanEvent"
    aggregate_type: str = "LoanApplication"
    transition: str
    resource: str
    amount: int
    registered_at: str
    officer: str
    channel: str
    currency: str
    terms: list[int]
    remark: str


class Counts(ReadModel):
    count: int = 0
    last_amount: int = 0


class Counter:
    def __init__(self, documents):
        self.documents = documents
        self.handled = 0

    def subscribed_to(self):
        return [LoanEvent]

    async def handle(self, event):
        count = await self.documents.get(event.aggregate_id) or Counts(id=event.aggregate_id)
        count.count += 1
        count.last_amount = event.amount
        await self.documents.save(count)
        self.handled += 1


def event(number):
    return LoanEvent(
        aggregate_id=UUID(int=number // PER_APPLICATION + 1),
        transition="COMPLETE",
        resource="10809",
        amount=100 * (number % 500),
        registered_at="2011-10-01T00:38:44.546Z",
        officer=f"{number:016x}",
        channel="online",
        currency="EUR",
        terms=[12, 24, 36, 48],
        remark="as asked for by telephone",
    )


async def rebuild(folder, events):
    store = SQLiteEventStore(f"{folder}/peer-log.db")
    for first in range(0, events, PER_APPLICATION):
        batch = [event(number) for number in range(first, min(first + PER_APPLICATION, events))]
        stream = StreamId(category="LoanApplication", aggregate_id=batch[0].aggregate_id)
        await store.append(stream, batch, ExpectedVersion.any_())
    async with aiosqlite.connect(f"{folder}/peer-model.db") as connection:
        await connection.execute("pragma journal_mode = wal")
        await connection.executescript(generate_schema(Counts, dialect="sqlite"))
        counter = Counter(SQLiteReadModelRepository(connection, Counts, enable_tracing=False))
        manager = SubscriptionManager(
            store, InMemoryEventBus(), InMemoryCheckpointRepository(), enable_tracing=False
        )
        await manager.subscribe(counter, create_catch_up_config(batch_size=1000), name="Counter")
        began = time.perf_counter()
        await manager.start()
        while counter.handled < events:
            await asyncio.sleep(0.001)
        took = time.perf_counter() - began
        await manager.stop()
    await store.close()
    return took


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    print(asyncio.run(rebuild(sys.argv[1], int(sys.argv[2]))))
