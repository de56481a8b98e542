"""`workerd-faas doctor`: what is wrong with this machine or installation."""

import json
from typing import Any

import click
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from workerd_faas import reactor
from workerd_faas.operator import machine
from workerd_faas.operator.finding import Finding, Level, failed, ok, table, warning
from workerd_faas.operator.options import read_settings, source_options
from workerd_faas.operator.partial import of_the_machine
from workerd_faas.operator.provider import discovery
from workerd_faas.settings.load import SettingsError
from workerd_faas.settings.model import Settings


async def examine(installed: Any, settings: Settings) -> list[Finding]:
    """
    Everything that can be looked at.
    """
    findings = [warning("settings", said) for said in settings.warnings]
    findings = findings or [ok("settings", "complete and right")]
    findings += machine.examine(settings)
    findings.append(await discovery(installed, settings))
    return findings


def report(findings: list[Finding], as_json: bool) -> int:
    """
    Print the findings; return the exit code.
    """
    bad = any(finding.level is Level.FAILED for finding in findings)
    if as_json:
        document = {"ok": not bad, "findings": [finding.as_json() for finding in findings]}
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(table(findings))
    return int(bad)


@click.command(
    epilog="""\b
Examples:
  workerd-faas doctor --env-file /etc/workerd-faas/env
  workerd-faas doctor --dev"""
)
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(dev: bool, env_file: str | None, as_json: bool) -> None:
    """
    Look for what is wrong with this machine and installation.

    Run it as the daemon's user and with its environment. Exits with 1 if something would keep the
    daemon from working; warnings leave the exit code 0. While settings are wrong, the machine is
    looked at all the same, but not what depends on them: addresses, names, the provider.
    """
    try:
        settings = read_settings(dev, env_file)
    except SettingsError as error:
        wrong = [failed(*each) for each in error.problems]
        wrong += [warning("settings", said) for said in error.warnings]
        wrong += machine.carries(of_the_machine(dev, env_file))
        raise SystemExit(report(wrong, as_json)) from error
    findings: list[Finding] = []

    async def look(installed: Any) -> None:
        findings.extend(await examine(installed, settings))

    installed = reactor.install()
    try:
        react(lambda r: Deferred.fromCoroutine(look(r)), _reactor=installed)
    except SystemExit as ended:
        if ended.code:
            raise
    raise SystemExit(report(findings, as_json))
