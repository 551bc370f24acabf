"""Django's settings for the peer: its defaults wherever it has any."""

import os
from pathlib import Path

STATE = Path(os.environ["SEED_STATE"])
SECRET_KEY = "benchmark"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "benchmarks.seed.urls"
INSTALLED_APPS = ["rest_framework", "benchmarks.seed"]
REST_FRAMEWORK: dict[str, object] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
}
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": STATE / "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
LOGGING = {"version": 1, "disable_existing_loggers": True}
