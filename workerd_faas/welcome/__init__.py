"""The example function that `--dev` deploys when there is no function yet."""

from importlib import resources
from typing import Final

from workerd_faas.domain.model import Account, Module, ModuleKind, Principal
from workerd_faas.usecases.target import Target
from workerd_faas.usecases.upload import Upload
from workerd_faas.wire.metadata import Metadata

NAME: Final = "welcome"


def upload() -> Upload:
    """
    The example as an upload.
    """
    code = resources.files(__name__).joinpath("welcome.js").read_bytes()
    return Upload(
        metadata=Metadata(
            main_module="welcome.js",
            compatibility_date="2026-11-01",
            compatibility_flags=(),
            bindings=(),
            inherit=(),
            keep=frozenset(),
            message="The example of --dev",
            tag=None,
            alias=None,
            notes=(),
        ),
        modules=(Module(name="welcome.js", kind=ModuleKind.ESM, content=code),),
    )


def target(account: Account) -> Target:
    """
    The example as a function of this account.
    """
    principal = Principal(accounts=(account,), subject="workerd-faas", credential="none")
    return Target(principal=principal, account_id=account.id, function=NAME)
