"""CloudEvents over Redis Streams with redis: `on_redis.py URL STREAM receive COUNT | send binary|structured`.

There is no binding for Redis. Lantern writes the headers of the Kafka binding as fields, and the body as the field `data`.
"""

import sys

import redis
from cloudevents.core.bindings import kafka

import exchange


class Redis:
    def __init__(self, url, topic):
        self.topic = topic
        self.client = redis.Redis.from_url(url)

    def receive(self, on_ready):
        last = "0"
        on_ready()
        for _ in exchange.patience():
            for _, entries in self.client.xread({self.topic: last}, block=200):
                for last, fields in entries:
                    body = fields.pop(b"data")
                    headers = {name.decode(): value for name, value in fields.items()}
                    yield kafka.from_kafka_event(kafka.KafkaMessage(headers, None, body))

    def send(self, events, structured):
        for event in events:
            message = (kafka.to_structured_event if structured else kafka.to_binary_event)(event)
            self.client.xadd(self.topic, {**message.headers, "data": message.value})


exchange.run(Redis(*sys.argv[1:3]), sys.argv[3:])
