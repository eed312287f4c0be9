"""Says 200 tokens, as a model does: as fast as they are taken, or with so many milliseconds between them as the message says."""

import asyncio


class Tokens:
    name = "tokens"

    async def astream(self, message):
        pause = float(message) / 1000
        for number in range(200):
            if pause:
                await asyncio.sleep(pause)
            yield f"token-{number} "


agent = Tokens()
