"""The same project with passwords that take no time, and an engine that a test may choose. Never serve anybody with this."""

import os

from .settings import *  # noqa: F403

PASSWORD_HASHERS = ["project.hashers.Weak"]
SESSION_ENGINE = os.environ.get("SESSION_ENGINE", "django.contrib.sessions.backends.db")
SESSION_FILE_PATH = os.environ.get("SESSION_FILE_PATH")
