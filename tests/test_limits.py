"""Settings of limits, as the rooms get them."""

from workerd_faas.ingress.limits import RelayLimits
from workerd_faas.limits import relay_limits
from workerd_faas.settings.load import load


def test_relay_limits() -> None:
    """What an operator says of requests and connections is what relays go by."""
    assert relay_limits(load({}, dev=True).limits) == RelayLimits()
    said = {
        "RESPONSE_TIMEOUT": "30s",
        "KEEP_ALIVE_TIMEOUT": "620s",
        "MAX_REQUEST_BODY": "1MiB",
        "MAX_RESPONSE_HEADER": "2KiB",
    }
    assert relay_limits(load(said, dev=True).limits) == RelayLimits(
        first_byte_seconds=30,
        keep_alive_seconds=620,
        body_bytes=1 << 20,
        response_head_bytes=2048,
    )
