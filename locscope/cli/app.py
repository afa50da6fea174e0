"""The commands. Each reads its settings, plans, acts, and prints its result."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from locscope import __version__
from locscope.cli import options
from locscope.cli.guard import NOTHING_MET, guarded
from locscope.cli.options import given

app = typer.Typer(
    name="locscope",
    help="Where should a language model be fine-tuned, so that these facts change and nothing "
    "else does?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Runs the command line."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"locscope {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="say the version")
    ] = False,
) -> None:
    """Finds where to fine-tune a language model, so that facts change and nothing else does."""


@app.command()
def search(
    model: options.Model = None,
    edits: options.Edits = None,
    output: Annotated[Path | None, typer.Option(help="run folder (runs/<name>)")] = None,
    seed: options.Seed = None,
    limit: options.Limit = None,
    strategy: Annotated[
        str | None, typer.Option(help="race (default), sweep, tree, tpe, random, depth-rule")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="for choosing: 0.15 of a sweep's work, or 90s, 5m, 2h")
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="balanced (default), capability-first, pareto")
    ] = None,
    weight: Annotated[
        list[str] | None, typer.Option(help="of a term, as locality=2; may be repeated")
    ] = None,
    bound: Annotated[
        list[str] | None, typer.Option(help="as 'perplexity_ratio<=1.1'; may be repeated")
    ] = None,
    scans: options.Scans = None,
    parts: Annotated[
        str | None, typer.Option(help="parts of every layer to try, with commas between")
    ] = None,
    quarters: Annotated[
        bool | None, typer.Option(help="try quarters of the layers and pairs of them too (yes)")
    ] = None,
    consecutive: Annotated[
        int | None, typer.Option(help="try so many layers in a row too (1)")
    ] = None,
    locations: Annotated[
        str | None, typer.Option(help="locations to try besides, with commas between")
    ] = None,
    finalists: Annotated[int | None, typer.Option(help="locations that reach the top (3)")] = None,
    audit: Annotated[
        int | None, typer.Option(help="locations run in full to judge the scans by (8; 0: none)")
    ] = None,
    repetitions: Annotated[int | None, typer.Option(help="repetitions on R (5)")] = None,
    share: Annotated[float | None, typer.Option(help="share of edits that choose (0.3)")] = None,
    batch_size: options.BatchSize = None,
    epochs: options.Epochs = None,
    prefixes: options.Prefixes = None,
    thorough: Annotated[
        bool | None, typer.Option(help="try other protocols and numbers of edits too (yes)")
    ] = None,
    prompt_format: options.PromptFormat = None,
    conflicts: options.Conflicts = None,
    neutral: options.Neutral = None,
    abilities: options.Abilities = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    device_memory: options.DeviceMemory = None,
    host_memory: options.HostMemory = None,
    trust_remote_code: options.RemoteCode = None,
    settings: options.SettingsFile = None,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="move an existing run aside / go on with it")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done")] = False,
    format: options.Format = "table",
) -> None:
    """Search the layer configuration to fine-tune, with held-out evidence for it."""
    wanted = given(
        model=model, edits=edits, seed=seed, limit=limit, strategy=strategy, budget=budget,
        objective=objective, weights=options.pairs(weight), bounds=options.several(bound),
        scans=options.split(scans), parts=options.split(parts), quarters=quarters,
        consecutive=consecutive, locations=options.split(locations), finalists=finalists,
        audit=audit, repetitions=repetitions, share=share, batch_size=batch_size, epochs=epochs,
        prefixes=prefixes, thorough=thorough, prompt_format=prompt_format, conflicts=conflicts,
        neutral=neutral, abilities=abilities, device=device, dtype=dtype,
        device_memory=device_memory, host_memory=host_memory, trust_remote_code=trust_remote_code,
    )  # fmt: skip
    with guarded():
        from locscope.cli import actions

        made = actions.search_settings(settings, wanted)
        if dry_run:
            actions.dry_run(made, output, format)
            raise typer.Exit
        ok = actions.search(made, output, fresh, format, _command())
    raise typer.Exit(0 if ok else NOTHING_MET)


@app.command()
def scan(
    model: options.Model = None,
    edits: options.Edits = None,
    scans: options.Scans = None,
    output: Annotated[Path | None, typer.Option(help="run folder (runs/<name>)")] = None,
    seed: options.Seed = None,
    limit: options.Limit = None,
    corruption: options.Corruption = None,
    metric: options.Metric = None,
    noise: options.Noise = None,
    samples: options.Samples = None,
    stream: options.Stream = None,
    window: options.Window = None,
    steps: options.Steps = None,
    ablation: options.Ablation = None,
    requests: options.Requests = None,
    strict: Annotated[
        bool | None, typer.Option("--strict", help="refuse edits whose subject is not there")
    ] = None,
    prompt_format: options.PromptFormat = None,
    conflicts: options.Conflicts = None,
    neutral: options.Neutral = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    device_memory: options.DeviceMemory = None,
    host_memory: options.HostMemory = None,
    trust_remote_code: options.RemoteCode = None,
    settings: options.SettingsFile = None,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="move an existing run aside / go on with it")
    ] = False,
    format: options.Format = "table",
) -> None:
    """Scan the untouched model: where do localisation methods see these facts?"""
    wanted = given(
        model=model, edits=edits, scans=options.split(scans), seed=seed, limit=limit,
        corruption=corruption, metric=metric, noise=noise, samples=samples, stream=stream,
        window=window, steps=steps, ablation=ablation, requests=requests, strict=strict,
        prompt_format=prompt_format, conflicts=conflicts, neutral=neutral, device=device,
        dtype=dtype, device_memory=device_memory, host_memory=host_memory,
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    with guarded():
        from locscope.cli import actions

        ok = actions.scan(settings, wanted, output, fresh, format, _command())
    raise typer.Exit(0 if ok else NOTHING_MET)


@app.command()
def edit(
    output: Annotated[Path, typer.Option(help="directory for the edited model")],
    model: options.Model = None,
    edits: options.Edits = None,
    config: Annotated[
        Path | None, typer.Option(help="recommendation.yaml, or the run folder it is in")
    ] = None,
    location: Annotated[str | None, typer.Option(help="as L22.mlp.down")] = None,
    recipe: Annotated[str | None, typer.Option(help="full (default); see list recipes")] = None,
    lr: Annotated[
        float | None, typer.Option(help="learning rate of Adam; else where a search starts")
    ] = None,
    seed: options.Seed = None,
    limit: options.Limit = None,
    batch_size: options.BatchSize = None,
    epochs: options.Epochs = None,
    prefixes: options.Prefixes = None,
    prompt_format: options.PromptFormat = None,
    conflicts: options.Conflicts = None,
    neutral: options.Neutral = None,
    abilities: options.Abilities = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    trust_remote_code: options.RemoteCode = None,
    settings: options.SettingsFile = None,
    format: options.Format = "table",
) -> None:
    """Tune one location on all edits and save the edited model."""
    wanted = given(
        model=model, edits=edits, location=location, recipe=recipe, lr=lr, seed=seed, limit=limit,
        batch_size=batch_size, epochs=epochs, prefixes=prefixes, prompt_format=prompt_format,
        conflicts=conflicts, neutral=neutral, abilities=abilities, device=device, dtype=dtype,
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    with guarded():
        from locscope.cli import actions

        ok = actions.edit(settings, wanted, config, output, format)
    raise typer.Exit(0 if ok else NOTHING_MET)


@app.command()
def evaluate(
    model: options.Model = None,
    edits: options.Edits = None,
    base: Annotated[
        str | None, typer.Option(help="the untouched model; default: recorded at saving")
    ] = None,
    seed: options.Seed = None,
    limit: options.Limit = None,
    prompt_format: options.PromptFormat = None,
    conflicts: options.Conflicts = None,
    neutral: options.Neutral = None,
    abilities: options.Abilities = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    trust_remote_code: options.RemoteCode = None,
    settings: options.SettingsFile = None,
    format: options.Format = "table",
) -> None:
    """Measure an edited model on its edits and against its base."""
    wanted = given(
        model=model, edits=edits, base=base, seed=seed, limit=limit, prompt_format=prompt_format,
        conflicts=conflicts, neutral=neutral, abilities=abilities, device=device, dtype=dtype,
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    with guarded():
        from locscope.cli import actions

        actions.evaluate(settings, wanted, format)


@app.command()
def check(
    model: options.Model = None,
    edits: options.Edits = None,
    seed: options.Seed = None,
    limit: options.Limit = None,
    parts: Annotated[str | None, typer.Option(help="parts to try, with commas between")] = None,
    conflicts: options.Conflicts = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    trust_remote_code: options.RemoteCode = None,
    settings: options.SettingsFile = None,
    format: options.Format = "table",
) -> None:
    """Say what was read, what can be trained, and what a search will take."""
    wanted = given(
        model=model, edits=edits, seed=seed, limit=limit, conflicts=conflicts, device=device,
        parts=options.split(parts), dtype=dtype,
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    with guarded():
        from locscope.cli import actions

        ok = actions.check(actions.search_settings(settings, wanted), format)
    raise typer.Exit(0 if ok else 2)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="run folders; several are compared")],
    output: Annotated[Path | None, typer.Option(help="file for the page")] = None,
    optuna: Annotated[
        Path | None, typer.Option(help="write the trials of a run there as an Optuna study")
    ] = None,
) -> None:
    """Draw the report of a run again from its records, or compare several runs."""
    _with_actions(lambda actions: actions.report(folders, output, optuna))


@app.command("list")
def list_(
    kind: Annotated[
        str, typer.Argument(help="models, edits, scans, measures, strategies or recipes")
    ],
    format: options.Format = "table",
) -> None:
    """List what there is."""
    _with_actions(lambda actions: actions.listing(kind, format))


def _command() -> str:
    return shlex.join(["locscope", *sys.argv[1:]])


def _with_actions(act: Callable) -> None:
    with guarded():
        from locscope.cli import actions

        act(actions)
