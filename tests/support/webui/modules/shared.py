from __future__ import annotations

from types import SimpleNamespace
from typing import Any

sd_model: Any = None
state = SimpleNamespace(textinfo=None, interrupted=False, skipped=False, job_count=0)
cmd_opts = SimpleNamespace(api=True, nowebui=False, api_auth=None)


class OptionInfo:
    def __init__(
        self,
        default: Any,
        label: str,
        component: Any = None,
        component_args: Any = None,
        onchange: Any = None,
        section: Any = None,
    ) -> None:
        self.default, self.label, self.component_args, self.section = default, label, component_args, section
        self.onchange = onchange

    def info(self, _words: str) -> OptionInfo:
        return self

    def needs_reload_ui(self) -> OptionInfo:
        return self


class Options:
    def add_option(self, key: str, info: OptionInfo) -> None:
        setattr(self, key, info.default)
        self.data_labels = {**getattr(self, "data_labels", {}), key: info}

    def set(self, key: str, value: Any) -> None:
        """As the settings page does."""
        setattr(self, key, value)
        if self.data_labels[key].onchange:
            self.data_labels[key].onchange()


opts = Options()
