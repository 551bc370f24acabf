"""The one route and view of the peer."""

from typing import Any

from django.urls import path
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .models import Endpoint, Resource, ResourceType


class ValueSerializer(serializers.Serializer):
    kind = serializers.ChoiceField(["singleResource"])
    id = serializers.IntegerField()
    type = serializers.ChoiceField(["STRING", "INTEGER", "FLOAT", "BOOLEAN", "TIME", "OPAQUE"])
    value = serializers.CharField(max_length=255)


class SingleSerializer(serializers.Serializer):
    ep = serializers.CharField(max_length=255)
    obj_id = serializers.IntegerField()
    val = ValueSerializer()

    def create(self, validated_data: dict[str, Any]) -> Any:
        value = validated_data["val"]
        endpoint, _ = Endpoint.objects.get_or_create(endpoint=validated_data["ep"])
        kind, _ = ResourceType.objects.get_or_create(
            object_id=validated_data["obj_id"],
            resource_id=value["id"],
            defaults={"name": "Sensor Value", "data_type": value["type"]},
        )
        stored: dict[str, Any] = {"str_value": value["value"]}
        if value["type"] == "FLOAT":
            stored = {"float_value": float(value["value"])}
        elif value["type"] == "INTEGER":
            stored = {"int_value": int(float(value["value"]))}
        return Resource.objects.create(endpoint=endpoint, resource_type=kind, **stored)


class SingleView(APIView):
    def post(self, request: Request) -> Response:
        serializer = SingleSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(serializer.validated_data, status=status.HTTP_201_CREATED)


urlpatterns = [path("leshan_api/resource/single", SingleView.as_view())]
