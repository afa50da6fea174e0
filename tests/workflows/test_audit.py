"""What an audit asks for: locations drawn before scans were read, at rates nobody chose."""

from made_up import World

from locscope.selection.space import FULL, TrialRequest
from locscope.workflows.search.audit import audit_requests, is_swept, swept

WORLD = World()


def test_after_a_race_the_sample_is_drawn_and_at_its_starting_rates() -> None:
    space = WORLD.space()
    chosen = WORLD.records(WORLD.search("race", space))
    looks, full = audit_requests(space, chosen, 5)
    assert not is_swept(space, chosen)
    assert [ask.location for ask in looks] == [one.location for one in space.candidates]
    assert [ask.location for ask in full] == list(space.drawn[:5])
    assert all(ask.lr == space.of(ask.location).lr for ask in full)


def test_after_a_sweep_every_location_counts_at_its_best_rate() -> None:
    space = WORLD.space()
    chosen = WORLD.records(WORLD.search("sweep", space))
    looks, full = audit_requests(space, chosen, 5)
    assert is_swept(space, chosen)
    assert looks == ()
    assert {ask.location for ask in full} == {one.location for one in space.candidates}


def test_rates_that_only_some_locations_got_are_no_part_of_a_sweep() -> None:
    """The best of the grid is its edge everywhere, so that the finalists' grids grow."""
    world = World(best_step=1.5)
    space = world.space()
    chosen = world.records(world.search("sweep", space))
    alike = swept(space, chosen)
    assert len(chosen) > len(alike) == 3 * len(space.candidates)
    assert all(one.trial.recipe.lr in space.of(one.trial.location).rates for one in alike)


def test_more_rates_at_some_locations_are_no_sweep() -> None:
    space = WORLD.space()
    start = [
        WORLD.record(TrialRequest(one.location, one.lr, space.full)) for one in space.candidates
    ]
    best = space.of("L3.mlp.down")
    more = [WORLD.record(TrialRequest(best.location, rate, space.full)) for rate in best.rates]
    looks, full = audit_requests(space, [*start, *more], 5)
    assert not is_swept(space, [*start, *more])
    assert looks == ()
    assert len(full) == len(space.candidates)
    assert {ask.fidelity.rung for ask in full} == {FULL}
