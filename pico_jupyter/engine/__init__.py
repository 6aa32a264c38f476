"""The engine: catalog, model manager, scheduler and backends. Knows neither HTTP nor Jupyter."""
