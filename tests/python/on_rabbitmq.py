"""CloudEvents over RabbitMQ with pika: `on_rabbitmq.py URL EXCHANGE BINDING receive COUNT | send binary|structured`.

BINDING is the SDK's `amqp`, whose headers begin with `cloudEvents_` or `cloudEvents:`, or its `rabbitmq`, whose headers begin
with `ce-`.
"""

import sys

import pika
from cloudevents.core.bindings import amqp, rabbitmq

import exchange


class Amqp:
    """The binding of AMQP 1.0: application properties are headers, the content type is the property of that name."""

    @staticmethod
    def read(properties, body):
        content_type = {"content-type": properties.content_type}
        return amqp.from_amqp_event(amqp.AMQPMessage(content_type, properties.headers or {}, body))

    @staticmethod
    def write(event, structured):
        message = (amqp.to_structured_event if structured else amqp.to_binary_event)(event)
        return message.application_data, message.application_properties, message.properties.get("content-type")


class Amqp091:
    """The binding of AMQP 0-9-1."""

    @staticmethod
    def read(properties, body):
        message = rabbitmq.RabbitMQMessage(properties.headers or {}, properties.content_type, body)
        return rabbitmq.from_rabbitmq_event(message)

    @staticmethod
    def write(event, structured):
        message = (rabbitmq.to_structured_event if structured else rabbitmq.to_binary_event)(event)
        return message.body, message.headers, message.content_type


class RabbitMQ:
    def __init__(self, url, topic, binding):
        self.topic = topic
        self.binding = {"amqp": Amqp, "rabbitmq": Amqp091}[binding]
        self.channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
        # As Lantern declares it; it is the same exchange, whoever comes first.
        self.channel.exchange_declare(topic, "topic", durable=True)

    def receive(self, on_ready):
        queue = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.queue_bind(queue, self.topic, "#")
        on_ready()
        patience = exchange.patience()
        for _, properties, body in self.channel.consume(queue, auto_ack=True, inactivity_timeout=0.2):
            next(patience)
            if properties is not None:
                yield self.binding.read(properties, body)

    def send(self, events, structured):
        self.channel.confirm_delivery()
        for event in events:
            body, headers, content_type = self.binding.write(event, structured)
            key = f"{event.get_subject().split('-')[0]}.{event.get_type()}"
            properties = pika.BasicProperties(content_type, headers=headers)
            # An exchange keeps nothing: without a queue, this is an error.
            self.channel.basic_publish(self.topic, key, body, properties, mandatory=True)


exchange.run(RabbitMQ(*sys.argv[1:4]), sys.argv[4:])
