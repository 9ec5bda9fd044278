"""A site key for tests, and what it seals for one plan."""

from wardround_client.sealing import SiteKey

KEY = SiteKey(b"s" * 32)
DATA = KEY.data(b"p" * 32)
