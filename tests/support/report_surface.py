"""Runs inside a release's own Python and prints, as JSON, what the running program says of itself."""

import json
import os


def tree(command, path, found):
    import click

    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for text in (*parameter.opts, *parameter.secondary_opts):
                found.append(f"{path} {text}".strip())
        else:
            found.append(f"{path} {parameter.name.upper()}".strip())
    for name in command.list_commands(None) if isinstance(command, click.Group) else ():
        found.append(f"{path} {name}".strip())
        tree(command.get_command(None, name), f"{path} {name}".strip(), found)


def main():
    import mlflow.cli

    commands = []
    tree(mlflow.cli.cli, "", commands)
    from mlflow.server import app, handlers

    if os.environ.get("MLFLOW_AUTH_CONFIG_PATH"):
        from mlflow.server import auth

        auth.create_app(app)
    endpoints = [
        [path, list(methods)]
        for path, handler, methods in handlers.get_endpoints()
        if handler.__name__ != "_not_implemented"
    ]
    rules = [
        [rule.rule, sorted(rule.methods - {"HEAD", "OPTIONS"})]
        for rule in app.url_map.iter_rules()
        if app.view_functions[rule.endpoint].__name__ != "_not_implemented"
    ]
    native = []
    try:
        from mlflow.server.fastapi_app import app as asgi

        native = [[path, sorted(verb.upper() for verb in verbs)] for path, verbs in asgi.openapi()["paths"].items()]
    except ImportError:
        pass
    import mlflow.environment_variables as variables

    names = [value.name for value in vars(variables).values() if isinstance(value, variables._EnvironmentVariable)]
    from pathlib import Path

    from alembic.config import Config
    from alembic.script import ScriptDirectory

    def heads(folder):
        place = Path(mlflow.__file__).parent / folder
        if not place.is_dir():
            return None
        config = Config()
        config.set_main_option("script_location", str(place))
        return list(reversed([each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]))

    print(
        json.dumps(
            {
                "commands": sorted(commands),
                "ui": mlflow.cli.cli.get_command(None, "ui").name,
                "endpoints": endpoints,
                "rules": rules,
                "native": native,
                "environment": sorted(names),
                "tracking": heads("store/db_migrations"),
                "auth": heads("server/auth/db/migrations"),
            }
        )
    )


if __name__ == "__main__":
    main()
