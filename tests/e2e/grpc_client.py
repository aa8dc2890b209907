"""A gRPC client that knows nothing of the service but what reflection tells, as grpcurl does."""

from collections.abc import Iterable

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from service import Key

SERVICE = "vidimus.v1.Faces"


class GrpcClient:
    """Calls methods by name, with messages as dictionaries of the .proto file's own names."""

    def __init__(self, channel: grpc.Channel, key: Key | None) -> None:
        self.channel = channel
        self.metadata = [("authorization", f"Bearer {key.access_key_id}:{key.secret_access_key}")] if key else []
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)
        self.service = self.pool.FindServiceByName(SERVICE)

    def call(self, method: str, request: dict | None = None, timeout: float = 30.0, **metadata: str):
        """Calls a method; its answer as a dictionary, or a list of them where it streams."""
        described = self.service.FindMethodByName(method)
        request_class = message_factory.GetMessageClass(described.input_type)
        answer_class = message_factory.GetMessageClass(described.output_type)
        message = json_format.ParseDict(request or {}, request_class())
        way = self.channel.unary_stream if described.server_streaming else self.channel.unary_unary
        stub = way(
            f"/{SERVICE}/{method}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=answer_class.FromString,
        )
        extra = [(name.replace("_", "-"), value) for name, value in metadata.items()]
        answered = stub(message, timeout=timeout, metadata=self.metadata + extra)
        if described.server_streaming:
            return [self.read(answer) for answer in answered]
        return self.read(answered)

    def bulk(self, requests: Iterable[dict], timeout: float = 60.0) -> dict[str, dict]:
        """Sends a job's messages; its answers by the photos' names."""
        described = self.service.FindMethodByName("BulkIndex")
        request_class = message_factory.GetMessageClass(described.input_type)
        answer_class = message_factory.GetMessageClass(described.output_type)
        stub = self.channel.stream_stream(
            f"/{SERVICE}/BulkIndex",
            request_serializer=request_class.SerializeToString,
            response_deserializer=answer_class.FromString,
        )
        messages = (json_format.ParseDict(request, request_class()) for request in requests)
        answers = [self.read(answer) for answer in stub(messages, timeout=timeout, metadata=self.metadata)]
        by_name = {answer["name"]: answer for answer in answers}
        assert len(by_name) == len(answers), "a photo was answered twice"
        return by_name

    @staticmethod
    def read(answer) -> dict:
        """A message as a dictionary; bytes are base64 there."""
        return json_format.MessageToDict(
            answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )

    def methods(self) -> set[str]:
        """The names of the service's methods, as reflection tells them."""
        return {method.name for method in self.service.methods}
