"""Each trap that reading a release without running it holds, as a small distribution."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from liftlock.errors import ReleaseError
from liftlock.knowledge.catalogue_api import Surface, parse
from liftlock.knowledge.extract import chains, descriptors
from liftlock.knowledge.extract.facts import Facts
from liftlock.knowledge.extract.release import Reader
from tests.support.distributions import sdist, wheel


def read(directory: Path, files: dict[str, str], metadata: str = "") -> Facts:
    return Reader().facts(wheel(directory, "9.9.9", files, metadata))


def values(facts: Facts, section: str) -> dict[str, str]:
    return {key: fact.value for key, fact in facts[section].items()}


def test_metadata_gives_python_dependencies_and_the_day_it_was_built(tmp_path: Path) -> None:
    facts = read(
        tmp_path,
        {},
        "Requires-Python: >=3.8\nRequires-Dist: SQLAlchemy (<3,>=1.4)\n"
        'Requires-Dist: boto3 ; extra == "extras"\nRequires-Dist: not//valid\n',
    )
    assert facts["release"]["requires_python"] == (">=3.8", "METADATA")
    assert facts["release"]["built"].value == "2024-05-06"
    assert values(facts, "dependencies") == {
        "sqlalchemy": "<3,>=1.4", 'boto3; extra == "extras"': "", "not//valid": "",
    }  # fmt: skip


def test_an_sdist_has_its_dependencies_read_from_setup_py(tmp_path: Path) -> None:
    setup = (
        "from setuptools import setup\nBASE = ['alembic', 'click>=7.0']\n"
        "setup(name='mlflow', install_requires=BASE + ['numpy'], extras_require={'extras': ['boto3']},\n"
        "      python_requires='>=3.5')\n"
    )
    facts = Reader().facts(sdist(tmp_path, "1.4.0", {"setup.py": setup}))
    assert facts["release"]["requires_python"] == (">=3.5", "setup.py")
    assert facts["release"]["built"].value == "2019-10-31"
    assert values(facts, "dependencies") == {
        "alembic": "", "click": ">=7.0", "numpy": "", 'boto3; extra == "extras"': "",
    }  # fmt: skip


def test_options_from_variables_factories_and_other_modules(tmp_path: Path) -> None:
    facts = read(
        tmp_path,
        {
            "mlflow/utils/__init__.py": "",
            "mlflow/utils/cli_args.py": (
                "import click\nHOST = click.option('--host', '-h', envvar='MLFLOW_HOST', default='127.0.0.1')\n"
                "def _make(help_string, default=None):\n    return click.option('--env-manager', default=default)\n"
                "ENV = _make('text', default='virtualenv')\n"
            ),
            "mlflow/runs.py": (
                "import click\nfrom mlflow.utils import cli_args\n@click.group('runs')\ndef commands():\n    pass\n"
                "@commands.command()\n@cli_args.ENV\n@click.argument('uri')\n"
                "@click.option('--yes/--no', default=False)\ndef do_it():\n    pass\n"
            ),
            "mlflow/cli.py": (
                "import click\nimport mlflow.runs\nfrom mlflow.utils import cli_args\n"
                "@click.group()\ndef cli():\n    pass\n@cli.command()\n@cli_args.HOST\ndef server():\n    pass\n"
                "try:\n    import mlflow.runs\n    cli.add_command(mlflow.runs.commands)\n"
                "except ImportError:\n    pass\n"
            ),
        },
    )
    assert values(facts, "cli") == {
        "server": "command",
        "server --host": "default=127.0.0.1 envvar=MLFLOW_HOST",
        "server -h": "as --host default=127.0.0.1 envvar=MLFLOW_HOST",
        "runs": "group", "runs do-it": "command", "runs do-it --env-manager": "default=virtualenv",
        "runs do-it URI": "", "runs do-it --yes": "default=False", "runs do-it --no": "as --yes default=False",
    }  # fmt: skip
    assert facts["cli"]["runs do-it"].source == "mlflow/runs.py"


def test_an_alias_inside_the_group_is_a_command(tmp_path: Path) -> None:
    facts = read(
        tmp_path,
        {
            "mlflow/cli.py": (
                "import click\nclass Aliased(click.Group):\n    def get_command(self, ctx, cmd_name):\n"
                "        cmd_name = 'server' if cmd_name == 'ui' else cmd_name\n"
                "        return super().get_command(ctx, cmd_name)\n"
                "@click.group(cls=Aliased)\ndef cli():\n    pass\n"
                "@cli.command()\n@click.option('--port')\ndef server():\n    pass\n"
            )
        },
    )
    assert values(facts, "cli")["ui"] == "alias of server"
    assert values(facts, "cli")["ui --port"] == "alias of server --port"


def test_routes_added_by_hand_in_every_way(tmp_path: Path) -> None:
    facts = read(
        tmp_path,
        {
            "mlflow/server/handlers.py": (
                "import os\nHANDLERS = {}\n"
                "def _add_static_prefix(route):\n    if prefix := os.environ.get('P'):\n"
                "        return prefix + route\n"
                "    return route\n"
                "def _get_ajax_path(path, version=2):\n    return _add_static_prefix(f'/ajax-api/{version}.0{path}')\n"
                "def _jobs():\n    return [(_get_ajax_path('/mlflow/jobs/<job_id>', version=3), _get, ['GET'])]\n"
                "def get_endpoints():\n    return [(_add_static_prefix('/graphql'), g, ['GET', 'POST'])] + _jobs()\n"
            ),
            "mlflow/server/__init__.py": (
                "from mlflow.server.handlers import _add_static_prefix\n@app.route('/health')\n"
                "def health():\n    pass\n"
                "@app.route(_add_static_prefix('/upload/<path:where>'), methods=['POST'])\ndef upload():\n    pass\n"
            ),
            "mlflow/server/fastapi_app.py": (
                "from mlflow.server.jobs import router\n"
                "def create():\n    app.include_router(router, prefix=static_prefix)\n"
            ),
            "mlflow/server/jobs.py": (
                "from fastapi import APIRouter\nBASE = '/jobs'\nrouter = APIRouter(prefix='/ajax-api/3.0')\n"
                "@router.patch(BASE + '/{job_id:path}')\nasync def cancel():\n    pass\n"
            ),
            "mlflow/server/auth/__init__.py": (
                "A, B = '/a', '/b'\nUSERS = '/users'\nAJAX = '/ajax/users'\n"
                "def create_app(app):\n    for rule in [USERS, AJAX]:\n"
                "        app.add_url_rule(rule=rule, view_func=v, methods=['POST'])\n"
            ),
        },
    )
    assert values(facts, "rest") == {
        "GET /graphql": "table", "POST /graphql": "table", "GET /ajax-api/3.0/mlflow/jobs/{job_id}": "table",
        "GET /health": "flask", "POST /upload/{where}": "flask", "PATCH /ajax-api/3.0/jobs/{job_id}": "fastapi",
        "POST /users": "auth", "POST /ajax/users": "auth",
    }  # fmt: skip


def _field(number: int, value: bytes) -> bytes:
    key = number << 3 | 2
    head = bytes([key]) if key < 128 else bytes([key & 127 | 128, key >> 7 & 127 | 128, key >> 14])
    return head + bytes([len(value)]) + value


def _message(name: bytes, *fields: bytes, inner: bytes = b"") -> bytes:
    return _field(1, name) + b"".join(_field(2, _field(1, each)) for each in fields) + inner


def _descriptor(path: bytes, major: int) -> bytes:
    answer = _field(3, _message(b"Response", b"run"))
    message = _field(4, _message(b"CreateRun", b"user_id", b"experiment_id", inner=answer))
    since = b"\x08" + bytes([major])
    endpoint = _field(1, b"POST") + _field(2, path) + _field(3, since)
    method = _field(1, b"createRun") + _field(2, b".mlflow.CreateRun") + _field(4, _field(51310, _field(1, endpoint)))
    return message + _field(6, _field(1, b"MlflowService") + _field(2, method))


def test_only_the_first_descriptor_of_two_protobuf_branches_counts() -> None:
    first, second = _descriptor(b"/mlflow/runs/create", 2), _descriptor(b"/mlflow/other", 2)
    source = f"if new:\n  D = pool.AddSerializedFile({first!r})\nelse:\n  D = pool.AddSerializedFile({second!r})\n"
    found = list(descriptors.endpoints(source.encode()))
    assert [(each.service, each.request, each.verb, each.path, each.major) for each in found] == [
        ("MlflowService", "CreateRun", "POST", "/mlflow/runs/create", 2)
    ]


def test_the_descriptor_of_files_for_both_pythons_is_latin_1_text() -> None:
    raw = _descriptor(b"/mlflow/caf\xc3\xa9", 3)
    source = f"D = FileDescriptor(serialized_pb=_b({raw.decode('latin-1')!r}))\n"
    assert next(descriptors.endpoints(source.encode())).path == "/mlflow/café"


def test_a_file_without_a_descriptor_has_no_endpoints() -> None:
    assert list(descriptors.endpoints(b"x = 1\n")) == []


def test_an_endpoint_without_a_handler_is_not_served(tmp_path: Path) -> None:
    proto = f"D = pool.AddSerializedFile({_descriptor(b'/mlflow/runs/create', 3)!r})\n"
    handlers = "HANDLERS = {%s: h}\ndef _get_paths(base, version=2):\n    pass\n" \
               "def get_endpoints():\n    return get_service_endpoints(MlflowService)\n"  # fmt: skip
    names = {"mlflow/protos/service_pb2.py": proto}
    served = read(tmp_path, {**names, "mlflow/server/handlers.py": handlers % "CreateRun"})
    takes = "rpc MlflowService.CreateRun(experiment_id, user_id) -> run"
    assert values(served, "rest") == dict.fromkeys(
        ("POST /api/3.0/mlflow/runs/create", "POST /ajax-api/3.0/mlflow/runs/create"), takes
    )
    not_served = read(tmp_path, {**names, "mlflow/server/handlers.py": handlers % "DeleteRun"})
    assert not_served["rest"] == {}


def test_a_change_inside_a_long_default_is_seen(tmp_path: Path) -> None:
    def signature(last: str) -> str:
        text = f"def f(x=[{', '.join(repr(str(n)) for n in range(30))}, {last!r}], y=1): ...\n"
        return values(read(tmp_path, {"mlflow/a.py": text}), "api")["mlflow.a.f"]

    before, after = signature("a"), signature("b")
    assert before != after and before == signature("a")
    (x, y) = parse(before.removeprefix("f(").removesuffix(")"))
    assert (x.name, str(x.default)[:5], y.default) == ("x", "...['", "1")
    assert len(before) < 60


def test_environment_variables_declared_and_only_named(tmp_path: Path) -> None:
    facts = read(
        tmp_path,
        {
            "mlflow/environment_variables.py": (
                "MLFLOW_A = _EnvironmentVariable('MLFLOW_A', int, 5)\n"
                "MLFLOW_B = _BooleanEnvironmentVariable('MLFLOW_B', True)\n"
            ),
            "mlflow/x.py": "import os\nos.environ.get('MLFLOW_OLD_NAME')\n'about MLFLOW_NOT_A_NAME in a sentence'\n",
        },
    )
    assert values(facts, "environment") == {"MLFLOW_A": "int = 5", "MLFLOW_B": "bool = True", "MLFLOW_OLD_NAME": "text"}
    assert facts["environment"]["MLFLOW_OLD_NAME"].source == "mlflow/x.py"


def test_chains_of_both_databases_and_of_the_old_folder(tmp_path: Path) -> None:
    old = read(
        tmp_path,
        {
            "mlflow/alembic/versions/a.py": "revision = 'aaa'\ndown_revision = None\n",
            "mlflow/alembic/versions/b.py": "revision: str = 'bbb'\ndown_revision: str = 'aaa'\n",
            "mlflow/server/auth/db/migrations/versions/c.py": "revision = 'aaa'\ndown_revision = None\n",
        },
    )
    assert chains.order(values(old, "tracking")) == ("aaa", "bbb")
    assert chains.order(values(old, "auth")) == ("aaa",)


@pytest.mark.parametrize("parents", [{"a": "-", "b": "-"}, {"a": "-", "c": "b"}, {"a": "b", "b": "a"}])
def test_a_chain_that_is_not_one_line_is_refused(parents: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="revisions"):
        chains.order(parents)


_API = {
    "mlflow/__init__.py": (
        "from typing import TYPE_CHECKING\nfrom mlflow.utils.lazy_load import LazyLoader\n"
        "from mlflow import tracking\nimport mlflow.tracking.fluent\n"
        "sklearn = LazyLoader('mlflow.sklearn', globals(), 'mlflow.sklearn')\n"
        "txtai = LazyLoader('mlflow.txtai', globals(), 'mlflow_txtai')\n"
        "if TYPE_CHECKING:\n    from mlflow import never\n"
        "log_metric = mlflow.tracking.fluent.log_metric\n"
        "from mlflow.models.deprecated import evaluate\n"
        "__all__ = ['log_metric']\n"
    ),
    "mlflow/tracking/__init__.py": "from mlflow.tracking.client import MlflowClient\n",
    "mlflow/tracking/client.py": (
        "from mlflow.utils.helper import safe_patch\nfrom mlflow.tracking.base import Base\n"
        "class MlflowClient(Base):\n    def __init__(self, uri=None):\n        self.tracking_uri = uri\n"
        "    @request_id_backward_compatible\n    def get_trace(self, trace_id): ...\n    def _hidden(self): ...\n"
    ),
    "mlflow/tracking/base.py": (
        "class Base:\n    @deprecated(alternative='search', since='1.30')\n    def list(self, view=1, *, flag): ...\n"
        "    @property\n    def info(self): ...\n    limit: int = 3\n"
    ),
    "mlflow/tracking/fluent.py": "def log_metric(key, value: float, step=None, **kwargs): ...\n",
    "mlflow/sklearn/__init__.py": (
        "from mlflow.utils.helper import safe_patch\n__all__ = ['log_model']\n__all__ += ['load_model']\n"
        "def log_model(sk_model, *a): ...\ndef load_model(uri): ...\nHELPER = 1\n"
    ),
    "mlflow/models/__init__.py": "from mlflow.models.base import evaluate\n__all__ = ['evaluate']\n",
    "mlflow/models/base.py": "def evaluate(model, *, extra_metrics=None): ...\n",
    "mlflow/models/deprecated.py": (
        "import functools\nfrom mlflow.models import evaluate as inner\n"
        "@functools.wraps(inner)\ndef evaluate(*args, **kwargs): ...\n"
    ),
    "mlflow/utils/__init__.py": "",
    "mlflow/utils/helper.py": "def safe_patch(): ...\n",
    "mlflow/utils/lazy_load.py": "class LazyLoader: ...\n",
}


def test_the_surface_follows_links_wrappers_lazy_loaders_and_bases(tmp_path: Path) -> None:
    facts = read(tmp_path, _API)
    surface = Surface(facts["api"])
    assert surface.canonical("mlflow.log_metric") == "mlflow.tracking.fluent.log_metric"
    assert surface.canonical("mlflow.sklearn.log_model") == "mlflow.sklearn.log_model"
    assert surface.canonical("mlflow.sklearn.load_model") is not None, "__all__ is extended"
    wrapped = surface.parameters("mlflow.evaluate")
    assert wrapped is not None and [each.name for each in wrapped] == ["model", "extra_metrics"]
    assert surface.canonical("mlflow.tracking.MlflowClient.list") == "mlflow.tracking.base.Base.list"
    inherited = surface.parameters("mlflow.tracking.MlflowClient.list")
    assert inherited is not None
    assert [(each.name, each.default, each.kind, each.required) for each in inherited] == [
        ("view", "1", "positional", False), ("flag", None, "keyword", True),
    ]  # fmt: skip
    listed = surface.definition("mlflow.tracking.MlflowClient.list")
    assert listed is not None and listed.marks == ("deprecated(alternative='search', since='1.30')",)
    assert listed.source == "mlflow/tracking/base.py"
    assert {"get_trace", "list", "info", "limit", "tracking_uri", "__init__"} == surface.members(
        "mlflow.tracking.MlflowClient"
    )
    shimmed = surface.definition("mlflow.tracking.MlflowClient.get_trace")
    assert shimmed is not None and shimmed.marks == ("request_id_backward_compatible",)


def test_imported_helpers_private_names_and_type_checking_are_no_api(tmp_path: Path) -> None:
    surface = Surface(read(tmp_path, _API)["api"])
    for path in (
        "mlflow.sklearn.safe_patch", "mlflow.tracking.client.safe_patch", "mlflow.sklearn.HELPER", "mlflow.never",
        "mlflow.tracking.MlflowClient._hidden", "mlflow.utils.helper.safe_patch", "mlflow.nothing.at.all",
    ):  # fmt: skip
        assert surface.canonical(path) is None, path
    outside = surface.definition("mlflow.txtai")
    assert outside is not None and outside.text == "module mlflow_txtai"


def test_flavors_are_modules_that_load_or_log_by_themselves(tmp_path: Path) -> None:
    assert values(read(tmp_path, _API), "flavors") == {"sklearn": "log_model load_model"}


def test_a_damaged_or_missing_distribution_is_named(tmp_path: Path) -> None:
    path = wheel(tmp_path, "9.9.9", {})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ReleaseError, match=r"mlflow-9\.9\.9.*is damaged"):
        Reader().facts(path)
    with pytest.raises(ReleaseError, match="there is no"):
        Reader().facts(tmp_path / "mlflow-1.0.0.tar.gz")


def test_invalid_escapes_of_old_sources_do_not_reach_the_terminal(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts = read(tmp_path, {"mlflow/a.py": "PATTERN = '\\d+'\ndef f(): ...\n"})
    assert "mlflow.a.f" in facts["api"]
