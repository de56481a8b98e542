"""The tests run on the daemon's own reactor, chosen before anything can import another one."""

from workerd_faas import reactor

reactor.install()
