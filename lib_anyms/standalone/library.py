"""The names for use as a library with diffusers; examples/diffusers_example.py shows them."""

from __future__ import annotations

from lib_anyms.job.request import Request
from lib_anyms.layout.geometry import Box
from lib_anyms.layout.layout import Layout, Subject
from lib_anyms.standalone.generate import inject_subjects

__all__ = ["Box", "Layout", "Request", "Subject", "inject_subjects"]
