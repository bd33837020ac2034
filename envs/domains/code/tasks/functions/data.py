"""The problems of the `functions` task, as data: per skill its forms, each with a reference to run.

A reference takes the arguments and then the form's values by name. It is written apart from the code, so that the
two check each other.
"""

from dataenvgym.envs.domains.code.tasks.functions.forms import (
    COMPARE,
    Form,
    draw,
    draw_both_ends,
    draw_in_order,
    draw_letter_set,
    draw_remainder,
    draw_with,
    either_or,
)

_NUMBER, _NUMBERS = ("number",), ("numbers",)
_TEXT, _LONG_TEXT, _WORDS, _TABLE = ("text",), ("long text",), ("words",), ("table",)


def _sum_of_some(x: list[int], cmp: str, a: int) -> int:
    return sum(n for n in x if COMPARE[cmp](n, a))


def _divided(x: int, a: int, b: int) -> int:
    if a < 2 or b < 1:
        raise ValueError("it would never end")
    return 0 if x < b else 1 + _divided(x // a, a, b)


FORMS: tuple[tuple[str, str, tuple[str, ...], tuple[Form, ...]], ...] = (
    (
        "arithmetic",
        "calculations with whole numbers",
        ("calculate", "compute", "combine", "score", "total", "value_of"),
        (
            Form(
                "one argument",
                _NUMBER,
                "{a} times {x} plus {b}",
                "return {a} * {x} + {b}",
                draw(a=(2, 30), b=(1, 60)),
                lambda x, a, b: x * a + b,
            ),
            Form(
                "two arguments",
                ("number", "number"),
                "{a} times {x} minus {b} times {y}",
                "return {a} * {x} - {b} * {y}",
                draw(a=(2, 30), b=(2, 30)),
                lambda x, y, a, b: x * a - y * b,
            ),
            Form(
                "division",
                _NUMBER,
                "{x} plus {b}, divided by {a} and rounded down",
                "return ({x} + {b}) // {a}",
                draw(b=(1, 40), a=(2, 15)),
                lambda x, a, b: divmod(x + b, a)[0],
            ),
            Form(
                "remainder",
                _NUMBER,
                "the remainder when {b} times {x} is divided by {a}",
                "return {b} * {x} % {a}",
                draw(b=(2, 10), a=(11, 40)),
                lambda x, a, b: divmod(x * b, a)[1],
            ),
        ),
    ),
    (
        "conditions",
        "a result that depends on a comparison",
        ("check", "choose", "classify", "decide", "judge", "label"),
        (
            Form(
                "either or",
                _NUMBER,
                "'{w}' if {x} is {cmp} {a}, else '{v}'",
                "return '{w}' if {x} {sign} {a} else '{v}'",
                draw_with("w v cmp", a=(2, 60)),
                lambda x, w, v, cmp, a: w if COMPARE[cmp](x, a) else v,
                either_or,
            ),
            Form(
                "in a range",
                _NUMBER,
                "True if {x} is between {a} and {b}, both included, else False",
                "return {a} <= {x} <= {b}",
                draw_in_order(1, 60),
                lambda x, a, b: x in range(a, b + 1),
            ),
            Form(
                "limits",
                _NUMBER,
                "{x}, but at least {a} and at most {b}",
                "return max({a}, min({x}, {b}))",
                draw_in_order(1, 60),
                lambda x, a, b: a if x < a else b if x > b else x,
            ),
            Form(
                "divisibility",
                _NUMBER,
                "'{w}' if {x} is divisible by {a}, else {x} plus {b}",
                "return '{w}' if {x} % {a} == 0 else {x} + {b}",
                draw_with("w", a=(2, 12), b=(1, 30)),
                lambda x, w, a, b: x + b if x % a else w,
            ),
        ),
    ),
    (
        "string_building",
        "text put together from pieces",
        ("build", "compose", "decorate", "join_up", "make_text", "wrap"),
        (
            Form(
                "before and after",
                _TEXT,
                "'{w}' followed by {x} and then '{v}'",
                "return '{w}' + {x} + '{v}'",
                draw_with("w v"),
                lambda x, w, v: w + x + v,
            ),
            Form(
                "two texts",
                ("text", "text"),
                "{x} repeated {a} times followed by {y} repeated {b} times",
                "return {x} * {a} + {y} * {b}",
                draw(a=(2, 20), b=(2, 20)),
                lambda x, y, a, b: x * a + y * b,
            ),
            Form(
                "with a separator",
                _TEXT,
                "{x} repeated {a} times with '{w}' in between",
                "return '{w}'.join([{x}] * {a})",
                draw_with("w", a=(3, 12)),
                lambda x, w, a: (x + w) * (a - 1) + x if a > 0 else "",
            ),
            Form(
                "in another case",
                _TEXT,
                "{x} in {case} case followed by '{w}' repeated {a} times",
                "return {x}.{case}() + '{w}' * {a}",
                draw_with("case w", a=(2, 9)),
                lambda x, case, w, a: (x.upper() if case == "upper" else x.lower()) + w * a,
            ),
        ),
    ),
    (
        "string_parts",
        "a part of a text, or a change in it",
        ("clip", "cut", "part_of", "shorten", "trim", "slice_text"),
        (
            Form(
                "the beginning",
                _LONG_TEXT,
                "the first {a} characters of {x} followed by '{w}'",
                "return {x}[:{a}] + '{w}'",
                draw_with("w", a=(2, 15)),
                lambda x, w, a: "".join(c for i, c in enumerate(x) if i < a) + w,
            ),
            Form(
                "the end",
                _LONG_TEXT,
                "'{w}' followed by the last {a} characters of {x}",
                "return '{w}' + {x}[-{a}:]",
                draw_with("w", a=(2, 15)),
                lambda x, w, a: w + "".join(c for i, c in enumerate(x) if i >= len(x) - a),
            ),
            Form(
                "both ends",
                _LONG_TEXT,
                "{x} without its first {a} and last {b} characters, in {case} case",
                "return {x}[{a}:-{b}].{case}()",
                draw_both_ends,
                lambda x, case, a, b: "".join(
                    c.upper() if case == "upper" else c.lower() for i, c in enumerate(x) if a <= i < len(x) - b
                ),
            ),
            Form(
                "replaced letters",
                _LONG_TEXT,
                "{x} with every '{w}' replaced by '{v}'",
                "return {x}.replace('{w}', '{v}')",
                draw_with("W V"),
                lambda x, w, v: "".join(v if c == w else c for c in x),
            ),
        ),
    ),
    (
        "list_totals",
        "one number from a list of numbers",
        ("aggregate", "figure", "measure", "summarise", "rating", "result_of"),
        (
            Form(
                "sum",
                _NUMBERS,
                "the sum of {x} plus {a}",
                "return sum({x}) + {a}",
                draw(a=(1, 400)),
                lambda x, a: sum([*x, a]),
            ),
            Form(
                "largest and smallest",
                _NUMBERS,
                "{a} times the largest number of {x} minus {b} times the smallest",
                "return {a} * max({x}) - {b} * min({x})",
                draw(a=(2, 30), b=(2, 30)),
                lambda x, a, b: sorted(x)[-1] * a - sorted(x)[0] * b,
            ),
            Form(
                "sum of a part",
                _NUMBERS,
                "the sum of the first {a} numbers of {x}, times {b}",
                "return sum({x}[:{a}]) * {b}",
                draw(a=(2, 6), b=(2, 99)),
                lambda x, a, b: sum(n * b for i, n in enumerate(x) if i < a),
            ),
            Form(
                "length",
                _NUMBERS,
                "the length of {x} times {a}",
                "return len({x}) * {a}",
                draw(a=(2, 400)),
                lambda x, a: sum(a for _ in x),
            ),
        ),
    ),
    (
        "list_filtering",
        "a list of the items that satisfy a condition",
        ("keep", "pick", "select", "filter_list", "only", "sift"),
        (
            Form(
                "by size",
                _NUMBERS,
                "the list of the numbers in {x} that are {cmp} {a}",
                "return [n for n in {x} if n {sign} {a}]",
                draw_with("cmp", a=(2, 199)),
                lambda x, cmp, a: list(filter(lambda n: COMPARE[cmp](n, a), x)),
            ),
            Form(
                "by remainder",
                _NUMBERS,
                "the list of the numbers in {x} that leave remainder {b} when divided by {a}",
                "return [n for n in {x} if n % {a} == {b}]",
                draw_remainder,
                lambda x, a, b: list(filter(lambda n: divmod(n, a)[1] == b, x)),
                partial=(lambda x, a, b: [n for n in x if n == b],),
            ),
            Form(
                "by range",
                _NUMBERS,
                "the list of the numbers in {x} from {a} to {b}, both included",
                "return [n for n in {x} if {a} <= n <= {b}]",
                draw_in_order(1, 60),
                lambda x, a, b: list(filter(lambda n: n in range(a, b + 1), x)),
            ),
            Form(
                "by letters",
                _WORDS,
                "the list of texts in {x} that start with '{w}' and have {cmp} {a} letters",
                "return [t for t in {x} if t.startswith('{w}') and len(t) {sign} {a}]",
                draw_with("W cmp", a=(2, 8)),
                lambda x, w, cmp, a: list(filter(lambda t: t[:1] == w and COMPARE[cmp](len(t), a), x)),
                partial=(
                    lambda x, w, cmp, a: [t for t in x if t[:1] == w],
                    lambda x, w, cmp, a: [t for t in x if COMPARE[cmp](len(t), a)],
                ),
            ),
        ),
    ),
    (
        "list_mapping",
        "a list with each item changed",
        ("change", "convert", "map_list", "modify", "transform", "update_all"),
        (
            Form(
                "multiples",
                _NUMBERS,
                "the list of n times {a} for each n in {x}",
                "return [n * {a} for n in {x}]",
                draw(a=(2, 400)),
                lambda x, a: [a * n for n in x],
            ),
            Form(
                "powers",
                _NUMBERS,
                "the list of n to the power of {a} minus {b} for each n in {x}",
                "return [n ** {a} - {b} for n in {x}]",
                draw(a=(2, 5), b=(1, 99)),
                lambda x, a, b: [pow(n, a) - b for n in x],
            ),
            Form(
                "texts",
                _WORDS,
                "the list of '{w}' plus t plus '{v}' for each text t in {x}",
                "return ['{w}' + t + '{v}' for t in {x}]",
                draw_with("w v"),
                lambda x, w, v: [w + t + v for t in x],
            ),
            Form(
                "limits",
                _NUMBERS,
                "the list of n, but at least {a} and at most {b}, for each n in {x}",
                "return [max({a}, min(n, {b})) for n in {x}]",
                draw_in_order(1, 60),
                lambda x, a, b: [a if n < a else b if n > b else n for n in x],
            ),
        ),
    ),
    (
        "dictionaries",
        "looking up, choosing and changing the entries of a dict",
        ("find", "look_up", "entries", "report", "query", "scan"),
        (
            Form(
                "lookup",
                _TABLE,
                "the value of '{w}' in the dict {x}, or {a} if it is missing",
                "return {x}.get('{w}', {a})",
                draw_with("w", a=(0, 99)),
                lambda x, w, a: {w: a, **x}[w],
            ),
            Form(
                "keys by value",
                _TABLE,
                "the list of the keys of the dict {x} whose value is {cmp} {a}",
                "return [k for k, v in {x}.items() if v {sign} {a}]",
                draw_with("cmp", a=(2, 199)),
                lambda x, cmp, a: list(filter(lambda k: COMPARE[cmp](x[k], a), x)),
            ),
            Form(
                "changed values",
                _TABLE,
                "the dict {x} with every value times {a}",
                "return {{k: v * {a} for k, v in {x}.items()}}",
                draw(a=(2, 400)),
                lambda x, a: dict(zip(x, (v * a for v in x.values()), strict=True)),
            ),
            Form(
                "one entry set",
                _TABLE,
                "the dict {x} after its key '{w}' is set to {a}",
                "{x}['{w}'] = {a}\nreturn {x}",
                draw_with("w", a=(0, 99)),
                lambda x, w, a: {**x, w: a},
            ),
        ),
    ),
    (
        "loops",
        "results that build up step by step",
        ("accumulate", "iterate", "run_through", "step", "loop_over", "simulate"),
        (
            Form(
                "sum over a range",
                ("small",),
                "the sum of {a} * i for i from 1 to {x}",
                "total = 0\nfor i in range(1, {x} + 1):\n    total += {a} * i\nreturn total",
                draw(a=(2, 400)),
                lambda x, a: a * x * (x + 1) // 2,
            ),
            Form(
                "sum of some",
                _NUMBERS,
                "the sum of the numbers in {x} that are {cmp} {a}",
                "total = 0\nfor n in {x}:\n    if n {sign} {a}:\n        total += n\nreturn total",
                draw_with("cmp", a=(2, 199)),
                _sum_of_some,
            ),
            Form(
                "until it is small",
                ("large",),
                "how often {x} must be divided by {a}, rounded down, until it is less than {b}",
                "count = 0\nwhile {x} >= {b}:\n    {x} //= {a}\n    count += 1\nreturn count",
                draw(a=(3, 9), b=(2, 99)),  # a slip to 2 still ends
                _divided,
            ),
            Form(
                "repeated steps",
                ("small",),
                "{x} after multiplying it by {a} and adding {b}, done {c} times",
                "for i in range({c}):\n    {x} = {x} * {a} + {b}\nreturn {x}",
                draw(a=(2, 9), b=(1, 30), c=(2, 9)),
                lambda x, a, b, c: x * a**c + b * sum(a**i for i in range(c)),
            ),
        ),
    ),
    (
        "counting",
        "how many items satisfy a condition",
        ("count_items", "how_many", "number_of", "tally", "occurrences", "frequency"),
        (
            Form(
                "by size",
                _NUMBERS,
                "how many numbers in {x} are {cmp} {a}",
                "return len([n for n in {x} if n {sign} {a}])",
                draw_with("cmp", a=(2, 199)),
                lambda x, cmp, a: sum(COMPARE[cmp](n, a) for n in x),
            ),
            Form(
                "by remainder",
                _NUMBERS,
                "how many numbers in {x} leave remainder {b} when divided by {a}",
                "return len([n for n in {x} if n % {a} == {b}])",
                draw_remainder,
                lambda x, a, b: sum(divmod(n, a)[1] == b for n in x),
                partial=(lambda x, a, b: x.count(b),),
            ),
            Form(
                "one value",
                _NUMBERS,
                "how often {a} occurs in {x}",
                "return {x}.count({a})",
                draw(a=(1, 400)),
                lambda x, a: sum(n == a for n in x),
            ),
            Form(
                "letters",
                _TEXT,
                "how many characters of {x} are in '{w}'",
                "return len([c for c in {x} if c in '{w}'])",
                draw_letter_set,
                lambda x, w: sum(x.count(c) for c in set(w)),
            ),
        ),
    ),
)
"""Per skill its name, what it is about, names for its functions, and its forms."""
