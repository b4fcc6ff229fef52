"""The step that reads one source into unified records."""

from tuneforge.step import StepContext

VERSION = 2


def run(context: StepContext) -> None:
    """Write ``records.parquet``, ``rejects.parquet`` and ``source.json``."""
    from tuneforge_datastore.ingest.files import listed_data
    from tuneforge_datastore.ingest.source import ingest
    from tuneforge_specs.errors import DataError
    from tuneforge_specs.sources import HfSource, PathSource

    name = context.step.name
    source = context.spec.sources[name]
    files = None
    if isinstance(source, PathSource):
        files = listed_data(context.step.files, source.path, context.spec_dir)
        if not files:
            raise DataError(f"sources.{name}.path: no data file", "name a data file or its folder")
    if isinstance(source, HfSource):
        commit = context.step.params.get(f"sources.{name}.hf@commit")
        if commit:
            source = source.model_copy(update={"revision": str(commit)})
    read = ingest(
        name,
        source,
        context.spec_dir,
        context.out,
        files=files,
        progress=lambda done: context.report.progress(done, source.limit, "rows"),
    )
    for file in read.files:
        context.report.log(
            f"{file['file']}: {file['records']} records as {file['format']} ({file['why']})"
        )
    if read.rejected:
        context.report.warn(
            f"source {name}: {read.rejected} rows could not be read and were skipped"
        )
    context.report.metrics({"records": read.records, "rejected": read.rejected})
