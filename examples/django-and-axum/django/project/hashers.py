"""Hashes for tests alone."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class Weak(PBKDF2PasswordHasher):
    """Django's default, with a thousandth of the rounds."""

    iterations = 1000
