"""An agent that does things, and lets people see and stop them: it looks after a small disk (which is a dict). It shows

    thinking       what it is about to do, before it does it
    tool calls     each with its result, tied together by step_id
    a question     before a tool that cannot be undone
    cancel         between two steps: a step is done whole or not at all

    myagent-manager register janitor agents/tools_agent.py --auto-start

Try: clean up · back up · list. Nothing to install.
"""

import time

PLANS = {
    "list": ["list_files"],
    "back up": ["list_files", "back_up"],
    "clean up": ["list_files", "back_up", "delete_old_files", "list_files"],
}
DANGEROUS = {"delete_old_files"}


class ToolsAgent:
    name = "janitor"

    def __init__(self):
        self.files = {"report.pdf": 3, "draft-1.txt": 400, "draft-2.txt": 380}  # days since somebody read them

    # --- The tools: each returns what it did. In a real agent they block, and may raise.

    def list_files(self):
        time.sleep(0.05)
        return ", ".join(sorted(self.files)) or "no files"

    def back_up(self):
        time.sleep(0.3)
        return f"saved {len(self.files)} files"

    def delete_old_files(self):
        old = [name for name, days in self.files.items() if days > 365]
        for name in old:
            del self.files[name]
        return f"deleted {', '.join(old) or 'nothing'}"

    # --- The agent

    def stream(self, message, ctx):
        # Without async, so each turn has a thread. A cancel never interrupts a thread: it ends where it looks.
        plan = next((steps for words, steps in PLANS.items() if words in str(message).lower()), None)
        if plan is None:
            yield f"I can: {', '.join(PLANS)}."
            return
        ctx.emit("agent.thinking", f"The plan: {', then '.join(plan)}.", {"step": 0, "plan": plan})
        for step, tool in enumerate(plan):
            if ctx.cancelled:
                return
            if tool in DANGEROUS and ctx.confirm(f"Really {tool}? It cannot be undone.", ["yes", "no"]) != "yes":
                yield f"Stopped before {tool}. "
                break
            yield f"{tool}: {self.call(tool, f'step_{step}_{tool}', ctx)}. "
        yield "Done."

    def call(self, tool, step_id, ctx):
        """Runs a tool, and tells the client before and after it."""
        ctx.emit("agent.tool_call", f"Running {tool}", {"tool": tool, "args": {}, "status": "running"}, step_id)
        try:
            result = getattr(self, tool)()
        except Exception as error:
            failed = {"tool": tool, "status": "error", "error": str(error)}
            ctx.emit("agent.tool_result", f"{tool} failed", failed, step_id)
            raise  # the client gets agent.error too, and the session goes on
        ctx.emit("agent.tool_result", result, {"tool": tool, "status": "success", "error": None}, step_id)
        return result

    # --- What a new process needs to go on

    def export_state(self):
        return {"files": self.files}

    def import_state(self, state):
        self.files = state["files"]


def create_agent():
    """Called once per session: each has a disk of its own."""
    return ToolsAgent()
