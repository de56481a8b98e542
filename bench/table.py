"""Results for people."""

from collections.abc import Mapping, Sequence
from typing import Any


def table(rows: Sequence[Sequence[Any]]) -> str:
    """
    Columns as wide as they need be; the first one to the left. None is a dash.
    """
    text = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in text) for column in range(len(text[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in text
    )


def rates(by_clients: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """
    What was compared, and under it how much of what it is of what, by number of clients.
    """
    measured = [each["measured"] for each in by_clients.values()]
    processes = sorted(
        {name for each in measured for one in each.values() for name in one["cpu_us"]}
    )
    columns = ("requests_per_second", "spread", "p50_ms", "p99_ms")
    head = ["", "clients", "req/s", "spread", "p50 ms", "p99 ms"]
    rows: list[list[Any]] = [[*head, *(f"{name} µs" for name in processes), "errors"]]
    for clients, each in by_clients.items():
        for name, one in each["measured"].items():
            cpu = [one["cpu_us"].get(process) for process in processes]
            figures = [one[column] for column in columns]
            rows.append([name, clients, *figures, *cpu, one["errors"]])
    ratios = list(next(iter(by_clients.values()))["ratios"])
    compared: list[list[Any]] = [["", *(f"{clients} clients" for clients in by_clients)]]
    for name in ratios:
        compared.append([name, *(each["ratios"].get(name) for each in by_clients.values())])
    return table(rows) + "\n\n" + table(compared)
