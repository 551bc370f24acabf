"""The peer of `ingest_vs_seed`: what the seed's document describes behind Leshan, written anew.

Django and Django REST Framework on Django's development server with SQLite as they come, one POST a
value to `/leshan_api/resource/single`, each stored as a Resource row of an Endpoint and a
ResourceType, validated by serializers. Leshan in front of it, Celery and Redis beside it are left
out, which flatters the seed.
"""
