"""Signpost for twistd."""

from twisted.application.service import ServiceMaker

service_maker = ServiceMaker(
    "workerd-faas",
    "workerd_faas.tap",
    "Functions-as-a-Service for Cloudflare Workers code",
    "workerd-faas",
)
