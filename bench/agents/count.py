"""Says what it was told, after how many messages of this session it has had: whoever numbers messages sees what got lost before it."""


class Count:
    name = "count"

    def __init__(self):
        self.messages = 0

    async def arun(self, message):
        self.messages += 1
        return f"{self.messages} {message}"


def create_agent():
    """Called once per session."""
    return Count()
