from __future__ import annotations

import gradio as gr


class InputAccordion(gr.Checkbox): ...
