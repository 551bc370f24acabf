"""Endpoint, ResourceType and Resource as the seed's document describes them."""

from django.db import models


class Endpoint(models.Model):
    endpoint = models.CharField(max_length=255, primary_key=True)


class ResourceType(models.Model):
    object_id = models.IntegerField()
    resource_id = models.IntegerField()
    name = models.CharField(max_length=255)
    data_type = models.CharField(max_length=50)

    class Meta:
        unique_together = ("object_id", "resource_id")


class Resource(models.Model):
    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT)
    resource_type = models.ForeignKey(ResourceType, on_delete=models.PROTECT)
    int_value = models.IntegerField(null=True)
    float_value = models.FloatField(null=True)
    str_value = models.CharField(max_length=255, null=True)
    timestamp_created = models.DateTimeField(auto_now_add=True)
