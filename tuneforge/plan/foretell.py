"""A forecast in words."""

from collections.abc import Iterator

from tuneforge.console.text import seconds, size
from tuneforge.fit import size_text
from tuneforge.plan.forecast import Forecast, TrainForecast

NAMED = 4


def forecast_lines(forecast: Forecast, *, nothing_to_do: bool) -> Iterator[str]:
    """Yield device, memory, time, disk and cost, each with what is not known."""
    if nothing_to_do:
        return
    for train in forecast.trains:
        yield from _train(train)
    for step, filters in forecast.scored:
        yield f"{step}: needs the base model: its records go through it ({', '.join(filters)})"
    yield from forecast.merges
    if forecast.trains or forecast.scored:
        yield f"device: {forecast.device}"
    known = seconds(forecast.seconds) if forecast.seconds else ""
    yield f"time:   {_partly(known, forecast.untimed, 'first build')}"
    yield (
        f"disk:   {_partly(size(forecast.disk) if forecast.disk else '', forecast.unsized)}; "
        f"{size(forecast.free)} free"
    )
    if forecast.disk > forecast.free:
        yield "warning: the disk has too little room (tuneforge gc lists what may go)"
    if forecast.price:
        some = " for the steps with a known time" if forecast.untimed else ""
        yield f"cost:   {forecast.cost:.2f} at {forecast.price:g} an hour{some}"


def _train(train: TrainForecast) -> Iterator[str]:
    yield f"{train.step}: {train.backend} ({train.why})"
    yield f"  checkpoints: {_saves(train.checkpoint_every)}"
    if train.context:
        yield (
            f"  warning: the base takes {train.context} tokens, template.max_tokens lets "
            f"{train.longest} through: a row that long would end the training"
        )
    if train.memory is None:
        yield f"  memory unknown: {train.unknown}"
        return
    yield f"  memory {train.memory}"
    terms = sorted(train.memory.estimate.terms.items(), key=lambda term: -term[1])
    yield f"    {', '.join(f'{name} {size_text(count)}' for name, count in terms[:NAMED])}"
    if train.assumed:
        yield f"    {train.assumed}"


def _saves(every: int | str) -> str:
    if every == "auto":
        return "every ten minutes, less often where saving is slow; a killed run goes on from there"
    if every == 0:
        return "none, unless it is stopped: a killed run starts over (args.checkpoint_every = 0)"
    return f"every {every} steps; a killed run goes on from there"


def _partly(known: str, unknown: tuple[str, ...], why: str = "") -> str:
    if not unknown:
        return f"about {known}"
    named = ", ".join(unknown[:NAMED]) + (", ..." if len(unknown) > NAMED else "")
    rest = f"unknown for {named}" + (f" ({why})" if why else "")
    return f"about {known}, {rest}" if known else rest
