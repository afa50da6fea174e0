"""The commands that find locations: search, scan and check.

Each reads its settings, plans, acts, and prints its result.
"""

import typer

from locscope.cli import options
from locscope.cli.guard import NOTHING_MET, guarded
from locscope.cli.options import given
from locscope.cli.root import app, command_line


@app.command()
def search(
    model: options.Model = None,
    edits: options.Edits = None,
    output: options.Output = None,
    seed: options.Seed = None,
    limit: options.Limit = None,
    strategy: options.Strategy = None,
    budget: options.Budget = None,
    objective: options.Objective = None,
    weights: options.Weights = None,
    bounds: options.Bounds = None,
    bound_margin: options.BoundMargin = None,
    scans: options.Scans = None,
    parts: options.Parts = None,
    quarters: options.Quarters = None,
    consecutive: options.Consecutive = None,
    locations: options.Locations = None,
    finalists: options.Finalists = None,
    audit: options.Audit = None,
    validations: options.Validations = None,
    non_inferiority: options.NonInferiority = None,
    deploy: options.Deploy = None,
    save: options.Save = None,
    repetitions: options.Repetitions = None,
    controls: options.Controls = None,
    thorough: options.Thorough = None,
    recipes: options.Recipes = None,
    share: options.Share = None,
    batch_size: options.BatchSize = None,
    epochs: options.Epochs = None,
    prefixes: options.Prefixes = None,
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
    tracker: options.Tracker = None,
    fresh: options.Fresh = False,
    dry_run: options.DryRun = False,
    format: options.Format = "table",
) -> None:
    """Search the layer configuration to fine-tune, with held-out evidence for it."""
    with guarded():
        aside = ("aside", "output", "save", "settings", "tracker", "fresh", "dry_run", "format")
        wanted = given(locals(), *aside)
        from locscope.cli import actions

        made = actions.search_settings(settings, wanted, tracker)
        if dry_run:
            actions.dry_run(made, output, format)
            raise typer.Exit
        ok = actions.search(made, output, fresh, format, command_line(), tracker, save)
    raise typer.Exit(0 if ok else NOTHING_MET)


@app.command()
def scan(
    model: options.Model = None,
    edits: options.Edits = None,
    scans: options.Scans = None,
    output: options.Output = None,
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
    strict: options.Strict = None,
    prompt_format: options.PromptFormat = None,
    conflicts: options.Conflicts = None,
    neutral: options.Neutral = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    device_memory: options.DeviceMemory = None,
    host_memory: options.HostMemory = None,
    trust_remote_code: options.RemoteCode = None,
    settings: options.SettingsFile = None,
    fresh: options.Fresh = False,
    format: options.Format = "table",
) -> None:
    """Scan the untouched model: where do localisation methods see these facts?"""
    wanted = given(locals(), "output", "settings", "fresh", "format")
    with guarded():
        from locscope.cli import actions

        ok = actions.scan(settings, wanted, output, fresh, format, command_line())
    raise typer.Exit(0 if ok else NOTHING_MET)


@app.command()
def check(
    model: options.Model = None,
    edits: options.Edits = None,
    seed: options.Seed = None,
    limit: options.Limit = None,
    parts: options.Parts = None,
    conflicts: options.Conflicts = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    trust_remote_code: options.RemoteCode = None,
    settings: options.SettingsFile = None,
    format: options.Format = "table",
) -> None:
    """Say what was read, whether it can be used, and what a search needs and takes."""
    wanted = given(locals(), "settings", "format")
    with guarded():
        from locscope.cli import actions

        ok = actions.check(actions.search_settings(settings, wanted), format)
    raise typer.Exit(0 if ok else 2)
