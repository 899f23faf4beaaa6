"""The same project with passwords that take no time. Never serve anybody with this."""

from .settings import *  # noqa: F403

PASSWORD_HASHERS = ["project.hashers.Weak"]
