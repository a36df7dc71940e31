"""CloudEvents over Kafka with confluent-kafka: `on_kafka.py BROKERS TOPIC receive COUNT | send binary|structured`."""

import sys
import uuid

from cloudevents.core.bindings import kafka
from confluent_kafka import Consumer, Producer

import exchange


class Kafka:
    def __init__(self, brokers, topic):
        self.topic = topic
        self.settings = {"bootstrap.servers": brokers, "topic.metadata.refresh.interval.ms": 500}

    def receive(self, on_ready):
        group = {"group.id": str(uuid.uuid4()), "auto.offset.reset": "earliest"}
        consumer = Consumer(self.settings | group)
        consumer.subscribe([self.topic])
        on_ready()
        for _ in exchange.patience():
            record = consumer.poll(0.2)
            # An error is that the topic is not there yet.
            if record is not None and record.error() is None:
                message = kafka.KafkaMessage(dict(record.headers() or []), record.key(), record.value() or b"")
                yield kafka.from_kafka_event(message)

    def send(self, events, structured):
        write = kafka.to_structured_event if structured else kafka.to_binary_event
        producer = Producer(self.settings)
        failed = []
        for event in events:
            # The key keeps a stream in order.
            message = write(event, key_mapper=lambda event: event.get_subject())
            producer.produce(
                self.topic,
                message.value,
                message.key,
                headers=list(message.headers.items()),
                on_delivery=lambda error, _: failed.append(error) if error else None,
            )
        if producer.flush(exchange.PATIENCE) or failed:
            sys.exit(f"not all were sent: {failed}")


exchange.run(Kafka(*sys.argv[1:3]), sys.argv[3:])
