"""The least that an agent can do."""


class Echo:
    name = "echo"

    async def arun(self, message):
        return message


agent = Echo()
