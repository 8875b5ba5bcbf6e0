"""The composition root: from a project folder, or from Python values, to a runtime."""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from answerable.engine.agent import Agent, seconds
from answerable.engine.dispatch.opening import dispatcher_for
from answerable.engine.notify import Notifier, NotifySettings
from answerable.engine.ports import Ports, system_ports
from answerable.engine.runtime import Runtime, Settings
from answerable.errors import ConfigError, InputError, PolicyError
from answerable.gates.approval import Approver
from answerable.gates.policy import Bundle, load_bundle
from answerable.gates.policy.schema import cedar_schema_text
from answerable.gates.schema import Refused, parse_object
from answerable.journal import opening
from answerable.journal.opening import choose_journal
from answerable.kernel.encoding import encode_payload
from answerable.kernel.tool import fields_of, render
from answerable.models.catalog import resolve_model
from answerable.models.prices import load_prices
from answerable.patterns.tool_caller import tool_caller
from answerable.settings import ApproverTable, IntakeTable, NotifyTable, problems, read_settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import ModuleType

    from answerable.journal.store import Durability, JournalStore
    from answerable.kernel.secret import Secret
    from answerable.models.port import ModelPort

TASKS_MAX = 100_000
RETENTION_DEFAULT = "90d"


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project folder, read and checked."""

    name: str
    directory: Path
    data: Path
    """Where the project's own files are: its tasks, and what its resources work on."""
    tenant: str
    agents: dict[str, Agent]
    approvers: list[Approver]
    journal_url: str
    tasks_file: Path | None
    retention: dict[str, float]
    """Class of payload → seconds; `standard` is for every class that is not named."""
    notify: NotifySettings
    module: ModuleType
    intake: IntakeTable = field(default_factory=IntakeTable)
    """The doors through which work arrives, as written; `answerable.intake.doors_of` makes them usable."""
    prices: Path | None = None
    """Prices of models that the built-in table does not know, or that you pay otherwise."""
    seed: int = 7
    bundles: dict[str, Bundle] = field(default_factory=dict[str, Bundle])

    def bundle(self, agent: str) -> Bundle:
        """The agent's policy bundle. Raises `PolicyError` with file, line and fix for one that is not sound."""
        if agent not in self.bundles:
            self.bundles[agent] = bundle_of(self.agents[agent])
        return self.bundles[agent]

    def resources(self) -> dict[str, object]:
        """What the project's `resources(directory)` gives its tools."""
        return self._ask("resources", self.data)

    def secrets(self) -> dict[str, Secret]:
        """What the project's `secrets(directory)` gives its tools."""
        return self._ask("secrets", self.data)

    def scripted(self) -> dict[str, ModelPort]:
        """The scripted models that the project's `models(directory, seed)` brings."""
        return self._ask("models", self.data, self.seed)

    def _ask(self, name: str, *args: object) -> dict[str, Any]:
        function = getattr(self.module, name, None)
        return {} if function is None else dict(function(*args))


def load_project(directory: Path, *, data: Path | None = None) -> Project:
    """Read a project folder. `data` is where its own files are (default: the folder itself).

    Raises `ConfigError` for whatever is missing, misspelt or of the wrong type: an unknown key is an error.
    """
    directory = directory.resolve()
    config = read_settings(directory)
    module = _load_module(directory, config.project.module)
    data = (data or directory).resolve()
    agents = _agents(module, data)
    if not agents:
        raise ConfigError(
            f"`{config.project.module}` defines no agent", hint="assign an `Agent(...)` to a name in it"
        )
    tasks = config.project.tasks or config.project.tickets
    return Project(
        name=config.project.name,
        directory=directory,
        data=data,
        tenant=config.project.tenant,
        agents=agents,
        approvers=[_approver(table) for table in config.approvers],
        journal_url=opening.resolve_journal(config.project.journal, data),
        tasks_file=_found(tasks, data, directory),
        retention={
            name: seconds(text) for name, text in {"standard": RETENTION_DEFAULT, **config.retention}.items()
        },
        notify=_notify(config.notify),
        intake=config.intake,
        module=module,
        prices=_prices(config.project.prices, directory),
    )


def _found(name: str | None, data: Path, directory: Path) -> Path | None:
    if name is None:
        return None
    return data / name if (data / name).exists() else directory / name


def _prices(name: str | None, directory: Path) -> Path | None:
    if name is not None and not (directory / name).is_file():
        raise ConfigError(f"there is no price file `{name}`", hint="`prices` in answerable.toml names it")
    return directory / name if name is not None else None


def _load_module(directory: Path, file: str) -> ModuleType:
    """Load the project's module as part of a package of its own, so that it may import its siblings."""
    path = directory / file
    if not path.is_file():
        raise ConfigError(
            f"there is no `{file}` in `{directory}`", hint="`module` in answerable.toml names it"
        )
    digest = hashlib.sha256(str(directory).encode()).hexdigest()[:24]
    package = f"answerable_project_{digest}"
    if package not in sys.modules:
        init = directory / "__init__.py"
        spec = importlib.util.spec_from_file_location(
            package, init if init.exists() else None, submodule_search_locations=[str(directory)]
        )
        if spec is None:
            spec = importlib.machinery.ModuleSpec(package, None, is_package=True)
            spec.submodule_search_locations = [str(directory)]
        parent = importlib.util.module_from_spec(spec)
        sys.modules[package] = parent
        if spec.loader is not None and init.exists():
            spec.loader.exec_module(parent)
    name = f"{package}.{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ConfigError:
        sys.modules.pop(name, None)
        raise
    except Exception as error:
        sys.modules.pop(name, None)
        raise ConfigError(
            f"`{file}` cannot be loaded: {type(error).__name__}: {error}",
            hint="run it with Python to see where",
        ) from error
    return module


def _agents(module: ModuleType, data: Path) -> dict[str, Agent]:
    chosen = getattr(module, "agent_for", None)
    found = (
        [chosen(data)]
        if chosen is not None
        else [value for value in vars(module).values() if isinstance(value, Agent)]
    )
    return {agent.name: agent for agent in found}


def _approver(table: ApproverTable) -> Approver:
    try:
        key = base64.b64decode(table.public_key.removeprefix("ed25519:"), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != 32:  # noqa: PLR2004
        raise ConfigError(
            f"the public key of the approver `{table.name}` is not an Ed25519 key",
            hint="paste what `answerable key new` printed",
        )
    return Approver(name=table.name, roles=frozenset(table.roles), public_key=key)


def _notify(table: NotifyTable) -> NotifySettings:
    if table.command is not None and table.webhook is not None:
        raise ConfigError("`[notify]` has a command and a webhook", hint="choose one")
    secret = os.environ.get(table.secret_env, "") if table.secret_env else ""
    if table.secret_env and not secret:
        raise ConfigError(
            f"`{table.secret_env}` is not set", hint="it holds the secret that signs the webhook"
        )
    return NotifySettings(command=tuple(table.command or ()), webhook=table.webhook or "", secret=secret)


def bundle_of(agent: Agent) -> Bundle:
    """Load an agent's policy. Raises `PolicyError` where there is none, or where it is not sound."""
    if isinstance(agent.policy, Path):
        folder = agent.policy
        if not folder.is_dir():
            raise PolicyError(
                f"there is no policy folder `{folder}` for `{agent.name}`",
                hint="without rules everything is denied: write at least one permit in a .cedar file",
            )
        sources = {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.cedar"))}
    else:
        sources = dict(agent.policy)
    if not sources:
        raise PolicyError(
            f"the policy of `{agent.name}` has no .cedar file",
            hint="without rules everything is denied: write a permit",
        )
    return load_rules(agent, sources)


def load_rules(agent: Agent, sources: Mapping[str, str]) -> Bundle:
    """Load rules, file name → text, for an agent and its tools. Raises `PolicyError` where they are not sound."""
    return load_bundle(sources, **_spoken_of(agent))


def schema_of(agent: Agent) -> str:
    """The Cedar schema for an agent's rules. Raises `PolicyError` where its tools cannot be described."""
    return cedar_schema_text(**_spoken_of(agent))


def _spoken_of(agent: Agent) -> dict[str, Any]:
    """What an agent's rules can speak about."""
    return {
        "tools": [tool.spec for tool in agent.all_tools().values()],
        "agents": [agent.name],
        "roles": {agent.name: agent.roles} if agent.roles else None,
        "tool_sets": agent.tool_sets,
        "sessions": agent.sessions(),
    }


def read_tasks(path: Path, agent: Agent) -> list[BaseModel]:
    """The tasks in a `.jsonl` or `.csv` file, all valid or none accepted.

    Raises `InputError` naming the line for one that is malformed, not of the agent's task, or there twice.
    """
    lines = _lines(path)
    tasks: list[BaseModel] = []
    seen: dict[str, int] = {}
    for number, read in lines:
        try:
            given = read if isinstance(read, dict) else parse_object(read)
            task = agent.task.model_validate_json(encode_payload(given))
        except Refused as refused:
            raise InputError(
                f"`{path.name}` line {number}: {refused}", hint="correct it; nothing was accepted"
            ) from None
        except ValidationError as error:
            raise InputError(
                f"`{path.name}` line {number}: {problems(error)}", hint="correct it; nothing was accepted"
            ) from None
        if agent.source:
            source = render(agent.source, fields_of(task))
            if source in seen:
                raise InputError(
                    f"`{path.name}` line {number}: `{source}` is there already, in line {seen[source]}",
                    hint="each task is accepted once; nothing was accepted",
                )
            seen[source] = number
        tasks.append(task)
    if not tasks:
        raise InputError(
            f"`{path.name}` holds no task", hint="one JSON object a line, or a CSV with a header"
        )
    return tasks


def _lines(path: Path) -> list[tuple[int, str | dict[str, Any]]]:
    if path.suffix not in (".jsonl", ".csv"):
        raise InputError(f"`{path.name}` is neither .jsonl nor .csv", hint="one JSON object a line, or a CSV")
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(
            f"`{path}` cannot be read: {error.strerror}", hint="name a file that is there"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"`{path.name}` is not UTF-8", hint="save it as UTF-8") from None
    if path.suffix == ".jsonl":
        lines: list[tuple[int, str | dict[str, Any]]] = [
            (number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()
        ]
    else:
        reader = csv.DictReader(text.splitlines(), strict=True)
        lines = []
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise InputError(
                        f"`{path.name}` line {reader.line_num}: has not as many fields as the header",
                        hint="correct it",
                    )
                lines.append((reader.line_num, {name: value for name, value in row.items() if value != ""}))
        except csv.Error as error:
            raise InputError(f"`{path.name}` line {reader.line_num}: {error}", hint="correct it") from None
    if len(lines) > TASKS_MAX:
        raise InputError(f"`{path.name}` holds more than {TASKS_MAX} tasks", hint="split it")
    return lines


def example_dir() -> Path:
    """Where the refund desk is: in the installed package, or in a checkout of the source."""
    installed = Path(__file__).parent / "_examples" / "refund_desk"
    if installed.is_dir():
        return installed
    return Path(__file__).parents[2] / "examples" / "refund_desk"


async def open_store(
    url: str,
    *,
    durability: Durability = "full",
    ports: Ports | None = None,
    must_exist: bool = False,
    accept_loss: bool = False,
) -> JournalStore:
    """Open a journal by its address, checked against the last head that was exported from it."""
    ports = ports or system_ports()
    return await opening.open_store(
        url,
        entropy=ports.entropy,
        clock=ports.clock.now_us,
        durability=durability,
        must_exist=must_exist,
        accept_loss=accept_loss,
    )


@asynccontextmanager
async def open_runtime(
    url: str,
    *,
    agents: Sequence[Agent] = (),
    approvers: Sequence[Approver] = (),
    resources: Mapping[str, object] | None = None,
    secrets: Mapping[str, Secret] | None = None,
    models: Mapping[str, ModelPort] | None = None,
    notify: NotifySettings | None = None,
    durability: Durability = "full",
    tenant: str = "default",
    ports: Ports | None = None,
    bundles: Mapping[str, Bundle] | None = None,
    requested_by: str = "",
    sync_workers: int = 8,
    is_worker: bool = False,
    prices: Path | None = None,
    wrap_store: Callable[[JournalStore], Any] | None = None,
    max_open: int | None = None,
) -> AsyncGenerator[Runtime]:
    """Open a runtime on a journal.

    Use it as `async with open_runtime("sqlite:///desk.db", agents=[desk]) as runtime:`.

    `resources` and `secrets` are injected into tools by name; `models` are scripted models by their whole name.
    `durability` is `full`, `group` (many runs share a commit) or `relaxed` (survives kill -9, not power loss).
    `max_open` is how many runs of an agent may be open: past it, `submit` raises `IntakeFull`.
    Raises `ConfigError`, `PolicyError` or `JournalError` before anything runs.
    """
    ports = ports or system_ports()
    scripted = dict(models or {})
    policies = {agent.name: (bundles or {}).get(agent.name) or bundle_of(agent) for agent in agents}

    def policy(agent: Agent) -> Bundle:
        return policies.get(agent.name) or policies.setdefault(agent.name, bundle_of(agent))

    known: dict[str, ModelPort] = {}
    own_prices = load_prices(prices) if prices is not None else None

    def model(name: str) -> ModelPort:
        if name not in known:
            known[name] = resolve_model(name, scripted=scripted, prices=own_prices)
        return known[name]

    for agent in agents:
        for name in agent.models:
            model(name)
    settings = Settings(
        agents={agent.name: agent for agent in agents},
        policy=policy,
        approvers={approver.name: approver for approver in approvers},
        resources=resources or {},
        secrets=secrets or {},
        model=model,
        program=tool_caller,
        tenant=tenant,
        requested_by=requested_by,
        sync_workers=sync_workers,
        is_worker=is_worker,
        max_open=max_open,
    )
    store = await open_store(url, durability=durability, ports=ports)
    runtime = Runtime(wrap_store(store) if wrap_store is not None else store, ports, settings)
    runtime.dispatcher = dispatcher_for(runtime.store, url, runtime.owner)
    notifier = Notifier(store, notify or NotifySettings(), ports)
    try:
        await runtime.begin()
        notifier.begin()
        yield runtime
    finally:
        await notifier.close()
        await runtime.close()
        for port in known.values():
            close = getattr(port, "aclose", None)
            if close is not None:  # a provider's connections; a scripted model has none
                await close()


@asynccontextmanager
async def open_project(
    project: Project,
    *,
    db: str | None = None,
    model: str | None = None,
    durability: Durability = "full",
    ports: Ports | None = None,
    is_worker: bool = False,
) -> AsyncGenerator[Runtime]:
    """Open a runtime on a project. `model` replaces the models of its agents for this runtime."""
    agents = [replace(agent, models=[model]) if model else agent for agent in project.agents.values()]
    async with open_runtime(
        choose_journal(db, project.journal_url),
        agents=agents,
        approvers=project.approvers,
        resources=project.resources(),
        secrets=project.secrets(),
        models=project.scripted(),
        notify=project.notify,
        durability=durability,
        tenant=project.tenant,
        ports=ports,
        bundles={agent.name: project.bundle(agent.name) for agent in agents},
        requested_by=os.environ.get("ANSWERABLE_REQUESTED_BY", ""),
        is_worker=is_worker,
        prices=project.prices,
        max_open=project.intake.max_open,
    ) as runtime:
        yield runtime
