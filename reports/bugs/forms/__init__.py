"""What each engine's own bug form asks for; a module an engine, found by its `FORM`."""

from __future__ import annotations

import importlib
import pkgutil

from reports.bugs.form import Form


def forms() -> dict[str, Form]:
    """All forms by engine; one that has none gets no draft for its project."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found: list[Form] = [module.FORM for module in modules]
    return {form.engine: form for form in found}
