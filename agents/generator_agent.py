"""The shortest way to an agent: a function that yields. No class, no async, nothing to install. This one calculates, and shows
each step as soon as it is done.

    myagent-manager register calculator agents/generator_agent.py --auto-start

Try: 2 * (3 + 4) - 10 / 4, and then: ans * 2
"""

import ast
import operator

OPERATORS = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
}


def calculator(message, ctx):
    """Each piece that it yields goes to the client at once. It runs in a thread of its own: blocking is fine."""
    said = [entry["content"] for entry in ctx.history if entry["role"] == "assistant"]
    results = [text.split()[-1].rstrip(".") for text in said if "The result is" in text]
    formula = str(message)[:200].replace("ans", results[-1] if results else "0").strip()
    try:
        result = yield from steps(ast.parse(formula, mode="eval").body)
        yield f"The result is {result:g}."
    except SyntaxError:
        yield "I can only calculate, with + - * / and parentheses."
    except ArithmeticError as error:
        yield f"There it ends: {error}."


agent = calculator  # what the file is for: a function, or an object with a method (see the other examples)


def steps(node):
    """Calculates a part of the formula; yields a line for each step, and returns the number."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -(yield from steps(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        left = yield from steps(node.left)
        right = yield from steps(node.right)
        sign, function = OPERATORS[type(node.op)]
        result = function(left, right)
        yield f"{left:g} {sign} {right:g} = {result:g}\n"
        return result
    raise SyntaxError("not a calculation")
