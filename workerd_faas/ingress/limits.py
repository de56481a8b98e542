"""Every bound of the relay in one place."""

import attrs


@attrs.frozen(kw_only=True)
class RelayLimits:
    """
    Sizes are in bytes, times in seconds. Times are looked at once every `tick_seconds`, so they
    are exceeded by up to that much.

    Attributes:
        head_bytes: A request's head, request line included (431).
        response_head_bytes: A response's head (502).
        request_line_bytes: The request line alone (414).
        header_count: Header fields of a message (431, 502).
        head_seconds: From a request's first byte to the end of its head, and for a TLS handshake.
        body_idle_seconds: Between two pieces of a request body that is waited for.
        keep_alive_seconds: A client's connection without a request.
        first_byte_seconds: From a request sent on to the head of its response (504).
        cell_wait_seconds: For a cell to become ready; `Cells` has its own, tighter bound.
        refused_seconds: A cell that refuses connections has been replaced by then, or 503.
        write_stall_seconds: A client that takes no byte of what waits for it is cut off.
        half_closed_seconds: A client that has sent its FIN is asked whether it listens when nothing
            could be sent to it for so long; it counts as gone if it cannot be asked.
        linger_seconds: How long a refused client may go on sending, and a tunnel of which one
            half is closed may be silent, before it is cut off.
        last_request_seconds: A connection that is idle when the daemon is about to stop may bring
            one more request for so long: closing it at once would cut off one that is on its way.
        tunnel_close_seconds: From a WebSocket's close frame to the end of its connection.
        body_bytes: A request body for a function (413); None is no bound.
        discard_bytes: What is read and dropped of a request body after its response, so that the
            connection can be kept.
        buffered_bytes: Of a client's input that cannot be passed on yet.
        connections: Clients at once, if there are descriptors for them; the next ones get 503.
        idle_connections: Kept to one cell.
        idle_connection_seconds: workerd closes a connection after 15 s without a request; ours
            are gone before.
        misses_per_minute: Version prefixes that one client address may guess wrong (429).
        certificate_seconds: How often certificate files are looked at.
        tick_seconds: The coarse timer.
    """

    head_bytes: int = 64 * 1024
    response_head_bytes: int = 64 * 1024
    request_line_bytes: int = 16 * 1024
    header_count: int = 128
    head_seconds: float = 15
    body_idle_seconds: float = 60
    keep_alive_seconds: float = 75
    first_byte_seconds: float = 100
    cell_wait_seconds: float = 60
    refused_seconds: float = 3
    write_stall_seconds: float = 60
    half_closed_seconds: float = 1
    linger_seconds: float = 3
    last_request_seconds: float = 1
    tunnel_close_seconds: float = 2
    body_bytes: int | None = None
    discard_bytes: int = 64 * 1024
    buffered_bytes: int = 64 * 1024
    connections: int = 50_000
    idle_connections: int = 256
    idle_connection_seconds: float = 10
    misses_per_minute: int = 20
    certificate_seconds: float = 10
    tick_seconds: float = 0.5
