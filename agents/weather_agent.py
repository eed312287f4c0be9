"""A weather agent that answers from built-in data: no key, no network, nothing to install.

It shows how an answer is streamed (`yield`), and how a client is told what goes on meanwhile (`ctx.emit`).

    myagent-manager register weather agents/weather_agent.py
    myagent-manager start weather
"""

import asyncio

WEATHER = {
    "amsterdam": ("Amsterdam", "cloudy", 12),
    "berlin": ("Berlin", "windy", 9),
    "cairo": ("Cairo", "sunny", 31),
    "london": ("London", "rainy", 11),
    "new york": ("New York", "clear", 15),
    "paris": ("Paris", "sunny", 25),
    "sydney": ("Sydney", "partly cloudy", 22),
    "tokyo": ("Tokyo", "light rain", 18),
}
PAUSE = 0.03  # seconds between words, as a model would take them


class WeatherAgent:
    name = "weather"

    async def astream(self, message, ctx):
        text = str(message).lower()
        ctx.emit("agent.thinking", "Which cities are meant?", {"step": 0})
        cities = [city for city in WEATHER if city in text]
        if not cities:
            known = ", ".join(city for city, _, _ in WEATHER.values())
            async for word in speak(f"Ask me about the weather in one of these cities: {known}."):
                yield word
            return
        for step, city in enumerate(cities):
            name, sky, degrees = await self.look_up(city, f"step_{step}_get_weather", ctx)
            async for word in speak(f"In {name} it is {sky} at {degrees} °C. "):
                yield word
        if len(cities) > 1:
            warmest = max((WEATHER[city] for city in cities), key=lambda entry: entry[2])
            async for word in speak(f"The warmest of them is {warmest[0]}."):
                yield word

    async def look_up(self, city, step_id, ctx):
        """A tool call; a real agent would ask a weather service here."""
        call = {"tool": "get_weather", "args": {"city": city}, "status": "running"}
        ctx.emit("agent.tool_call", f"Looking up {city}", call, step_id)
        await asyncio.sleep(PAUSE)
        name, sky, degrees = WEATHER[city]
        result = {"tool": "get_weather", "status": "success", "error": None}
        ctx.emit("agent.tool_result", f"{name}: {sky}, {degrees} °C", result, step_id)
        return name, sky, degrees


async def speak(text):
    """A text word by word."""
    for word in text.split(" "):
        if word:
            yield word + " "
            await asyncio.sleep(PAUSE)


agent = WeatherAgent()
