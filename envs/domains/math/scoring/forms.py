"""The cheap part of comparing two final answers: one spelling, plain numbers with units, words, times."""

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"
_CHARACTERS = {
    **dict.fromkeys("−–—‐‑‒﹣－", "-"),
    "×": r"\times ",
    "·": r"\cdot ",
    "⋅": r"\cdot ",
    "÷": "/",
    "π": r"\pi ",
    "∞": r"\infty ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "∪": r"\cup ",
    "∈": r"\in ",
    "±": r"\pm ",
    "°": r"^\circ ",
    "∅": r"\emptyset ",
    "⟨": "(",
    "⟩": ")",
    "’": "'",
    "\u200b": "",
    "\ufeff": "",
}
_TABLE = str.maketrans(_CHARACTERS)
_DOLLAR = "¤"  # stands for a dollar sign that means money, once those that delimit formulas are gone
_CURRENCY = {_DOLLAR: "dollar", "€": "euro", "£": "pound", "¥": "yen", "₹": "rupee"}
_TRIG = r"\\?(?:sin|cos|tan|cot|sec|csc)"
FUNCTIONS = frozenset(
    re.findall(
        "[a-z]+",
        "sin cos tan cot sec csc log ln exp sqrt arcsin arccos arctan sinh cosh tanh lim max min gcd lcm "
        "mod frac cdot times infty cup cap binom det pi and or to",
    )
)
"""Words that are part of a formula, not of a sentence and not a unit."""
_SCALE = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_UNITS = {
    alias: name
    for name, aliases in {
        "mm": "millimeter millimetre",
        "cm": "centimeter centimetre",
        "m": "meter metre",
        "km": "kilometer kilometre",
        "in": "inch",
        "ft": "feet foot",
        "yd": "yard",
        "mi": "mile",
        "mg": "milligram",
        "g": "gram",
        "kg": "kilogram",
        "lb": "pound-mass lbs",
        "oz": "ounce",
        "ml": "milliliter millilitre",
        "l": "liter litre",
        "s": "sec second",
        "min": "minute",
        "h": "hr hour",
        "mph": "mph",
        "degree": "deg",
        "square": "sq",
        "cubic": "cu",
        "cent": "cents ¢",
        "pm": "pm",
        "am": "am",
    }.items()
    for alias in (name, *aliases.split())
}
_NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+\.?[0-9]*|\.[0-9]+)"
_SIGNED = rf"[-+]?\s?{_NUMBER}"
_QUANTITY = re.compile(
    rf"(?P<sign>[-+]?)\s*(?P<money>[{''.join(_CURRENCY)}]?)\s*(?P<sign2>[-+]?)\s*"
    rf"(?:(?P<whole>[0-9]+)\s*(?=\\frac)|(?P<whole2>[0-9]+)\s+(?=[0-9]+\s?/))?"
    rf"(?:\\frac\{{\s*(?P<num>{_SIGNED})\s*\}}\{{\s*(?P<den>{_SIGNED})\s*\}}"
    rf"|(?P<num2>{_NUMBER})\s*/\s*(?P<den2>{_SIGNED})"
    rf"|(?:(?P<mantissa>{_NUMBER})\s*(?:\\times|\\cdot|\*|x)\s*)?10\s*(?:\^|\*\*)\s*"
    rf"(?:\{{(?P<power>\s*[-+]?[0-9]{{1,3}})\s*\}}|(?P<power2>-?[0-9]{{1,3}})|\((?P<power3>-?[0-9]{{1,3}})\))"
    rf"|(?P<number>{_NUMBER})(?:[eE](?P<exponent>[-+]?[0-9]{{1,3}})(?![0-9]))?)"
    r"(?P<rest>.*)",
    re.DOTALL,
)


_TEXT = (
    r"\\(?:text(?:normal|[a-z]{2})?|emph|[hm]box|math(?:rm|bf|it|sf|tt|normal)|boldsymbol|bm|pmb|operatorname\*?)"
    r"\s*\{([^{}]*)\}"
)
"""Commands around words."""
_THIN = r"(?:\\,|\{\\,\}|\\thinspace(?![A-Za-z])\s?|[\u2008\u2009\u202f\u00a0~])"
_GROUP = rf"(?:{_THIN}|(?:\s?\\!)*\s?(?:,|\{{,\}})\s?(?:\\!\s?)+)"
_GROUPED = re.compile(
    rf"(?<![0-9.,])[0-9]{{1,3}}(?:{_GROUP}[0-9]{{3}})+(?![0-9])|(?<=\.)(?:[0-9]{{3}}{_THIN})+[0-9]{{1,3}}(?![0-9])"
)
_ELLIPSIS = r"\\[lcd]?dots(?![A-Za-z])|\.\.\.+"
_REPEATING = re.compile(
    r"(?<![0-9.,])(?P<whole>[0-9]{0,30})\.(?:(?P<first>[0-9]{0,30})"
    r"(?:\\(?:overline|bar)\s*(?:\{\s*(?P<block>[0-9]{1,30})\s*\}|(?P<digit>[0-9]))"
    r"|\\dot\s*\{?\s*(?P<dot>[0-9])\s*\}?(?:(?P<between>[0-9]{0,30})\\dot\s*\{?\s*(?P<dot2>[0-9])\s*\}?)?)"
    rf"\s?(?:{_ELLIPSIS})?|\((?P<bracket>[0-9]{{1,30}})\)"
    rf"|(?P<start>[0-9]{{0,30}}?)(?:(?P<one>[0-9])(?P=one){{2,30}}|(?P<many>[0-9]{{2,15}}?)(?P=many){{1,9}})\s?(?:{_ELLIPSIS}))"
    r"(?!\s*_|[0-9])"
)


def _ungrouped(match: re.Match[str]) -> str:
    return re.sub(r"[^0-9]|thinspace", "", match[0])


def _as_fraction(match: re.Match[str]) -> str:
    """A repeating decimal as the fraction that it is."""
    g = {name: value or "" for name, value in match.groupdict().items()}
    first = g["first"] + g["start"]
    block = (
        g["block"] or g["digit"] or g["bracket"] or g["one"] or g["many"] or g["dot"] + g["between"] + g["dot2"]
    )
    value = int(g["whole"] or "0") + Fraction(
        int(first + block) - int(first or "0"), 10 ** len(first + block) - 10 ** len(first)
    )
    return str(value) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def normal_form(text: str) -> str:
    """An answer in one spelling: ASCII operators, plain LaTeX fractions and roots, no spacing commands,
    no formula delimiters, `\\text{...}` opened, money marked, trailing punctuation dropped."""
    # Runs of spaces first: the patterns below would otherwise take quadratic time on them.
    s = _GROUPED.sub(_ungrouped, re.sub(r"[ \t\n]+", " ", text))
    s = re.sub(r"\s+", " ", s)
    s = re.sub("(?:[0-9]\u0305)+", lambda m: rf"\overline{{{m[0].replace(chr(0x305), '')}}}", s)
    s = re.sub("[¼-¾⅐-⅞]", lambda m: " " + unicodedata.normalize("NFKC", m[0]), s)
    s = re.sub(f"[{_SUPERSCRIPTS}]+", lambda m: "^{" + unicodedata.normalize("NFKC", m[0]) + "}", s)
    s = unicodedata.normalize("NFKC", s.translate(_TABLE)).translate(_TABLE).replace("⁄", "/")
    s = re.sub(r"√\s*(\([^()]*\)|[0-9]+|[A-Za-z])", lambda m: rf"\sqrt{{{m[1].strip('()')}}}", s)
    s = s.replace("**", "^") if re.search(r"\w\s?\*\*\s?[\w({-]", s) else s.replace("**", "")
    s = s.replace("\\$", _DOLLAR)
    if s.count("$") % 2:
        s = re.sub(r"\$(?=\s*-?[0-9.])", _DOLLAR, s, count=1)
    s = s.replace("$", " ").replace("\\[", " ").replace("\\(", " ").replace("\\]", " ").replace("\\)", " ")
    s = re.sub(r"\\(?:left|right|displaystyle|bigl?|bigr|Bigl?|Bigr)(?![A-Za-z])\.?", "", s)
    s = s.replace("\\!", "").replace("{,}", ",").replace("\\%", "%").replace("\\&", "&")
    # A row break of a matrix is no spacing command, though "\\ " ends like "\ ".
    s = re.sub(r"(?<!\\)\\[,;: ]|\\q?quad(?![A-Za-z])|~", " ", s)
    s = re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", s)
    s = re.sub(r"\{\s*\\(?:rm|bf|it|sf|tt)(?![A-Za-z])([^{}]*)\}", r" \1 ", s)
    for _ in range(3):  # one within the other
        s = re.sub(_TEXT, r" \1 ", s)
    s = _REPEATING.sub(_as_fraction, s)
    s = re.sub(r"\\frac\s*([0-9])\s*([0-9])", r"\\frac{\1}{\2}", s)
    s = re.sub(r"\\frac\s*\{([^{}]*)\}\s*([0-9A-Za-z])", r"\\frac{\1}{\2}", s)
    s = re.sub(r"\\frac\s*([0-9A-Za-z])\s*\{", r"\\frac{\1}{", s)
    s = re.sub(r"\\sqrt\s*([0-9A-Za-z])", r"\\sqrt{\1}", s)
    s = re.sub(r"(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}", s)
    s = re.sub(r"(?<![\\A-Za-z])pi(?![A-Za-z])", r"\\pi ", s)
    s = re.sub(r"(?<![\\A-Za-z])(?:infinity|inf|oo)(?![A-Za-z])", r"\\infty ", s)
    s = s.replace("\\lbrace", "\\{").replace("\\rbrace", "\\}").replace("\\langle", "(").replace("\\rangle", ")")
    s = re.sub(r"\\(le|ge)qs?(?:lant)?(?![A-Za-z])", r"\\\1", s).replace("<=", r"\le ").replace(">=", r"\ge ")
    degree = r"\s*(?:\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])|\s+degrees?(?![A-Za-z]))"
    if re.search(_TRIG, s):
        s = re.sub(rf"([0-9.]+){degree}", r"\\frac{\1\\pi}{180}", s)
    s = re.sub(degree, " degree ", s)
    s = re.sub(r"(?<![A-Za-z])([ap])\.\s?m(?![A-Za-z])\.?", r"\1m", s)
    s = re.sub(r"_\s*([0-9]+|[A-Za-z])", r"_{\1}", s)
    s = re.sub(r"(?<=[\])}])\s*U\s*(?=[\[({])", r"\\cup ", s)
    return re.sub(r"\s+", " ", s).lstrip(" ,;:`\"'").rstrip(" .,;:`\"'")


def key(form: str) -> str:
    """The text two normal forms are compared by: no spaces; words without regard to case or brackets."""
    if is_words(form):
        return re.sub(r"[\s()]", "", form).casefold()
    return re.sub(r"(?<![0-9,]) | (?![0-9])", "", form)


def is_words(form: str) -> bool:
    """Whether an answer is plain words or a choice letter: letters, and no digit, operator or command."""
    return re.fullmatch(r"[^\W\d_][^\W\d_\s'.-]*(?:[\s'.-]+[^\W\d_]+)*\.?|\([A-Za-z]\)", form) is not None


class Quantity(NamedTuple):
    """A plain number with its unit; `decimals` is the count of decimals, None for a fraction."""

    value: Fraction
    decimals: int | None
    unit: str


def quantity(form: str) -> Quantity | None:
    """Reads a normal form as one number with an optional unit; None when it is anything else."""
    match = _QUANTITY.fullmatch(form)
    if match is None:
        return None
    g = match.groupdict()
    unit = _unit(g["rest"], form)
    if unit is None or (g["sign"] and g["sign2"]):
        return None
    decimals: int | None = None
    if g["num"] or g["num2"]:
        below = _fraction(g["den"] or g["den2"])
        if not below:
            return None
        value = _fraction(g["num"] or g["num2"]) / below
        whole = g["whole"] or g["whole2"]
        if whole:
            if value < 0:
                return None
            value += int(whole)
    elif g["whole"] or g["whole2"]:
        return None
    elif power := g["power"] or g["power2"] or g["power3"]:
        value = _fraction(g["mantissa"] or "1") * Fraction(10) ** int(power)
    else:
        value = _fraction(g["number"]) * Fraction(10) ** int(g["exponent"] or 0)
        decimals = len(g["number"].partition(".")[2])
    if "-" in (g["sign"], g["sign2"]):
        value = -value
    first, _, others = unit.partition(" ")
    if first in _SCALE:
        value, unit = value * _SCALE[first], others
    money = _CURRENCY.get(g["money"] or "", "")
    if money and unit not in ("", money):
        return None
    return Quantity(value, decimals, money or unit)


def _fraction(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace(" ", "").rstrip("."))


def _unit(rest: str, form: str) -> str | None:
    """The unit in canonical spelling, "" for none, None when the text is no unit (then: not a number)."""
    text = rest.strip().rstrip(".")
    if not text:
        return ""
    if text.lower() in ("%", "percent", "per cent", "percentage", "pct"):
        return "%"
    base = re.fullmatch(r"_\s*\{?\s*([0-9]{1,2})\s*\}?|(?:in )?base ([0-9]{1,2})", text)
    if base:
        return f"base {base[1] or base[2]}"
    if text in _CURRENCY:
        return _CURRENCY[text]
    spaced = rest[:1].isspace() or not form[: len(form) - len(rest)][-1:].isdigit()
    words: list[str] = []
    for word in re.sub(r"\s+\^", "^", text).replace("/", " per ").split():
        match = re.fullmatch(r"([^\W\d_-]+|¢)(?:\^\{?([23])\}?)?", word)
        if match is None or len(words) >= 6:
            return None
        name = match[1] if len(match[1]) == 1 else match[1].lower()
        if words[-1:] == ["degree"] and name in ("C", "F"):
            words.append(name)
            continue
        name = "l" if name == "L" else name
        known = _UNITS.get(name) or _UNITS.get(_singular(name))
        # "5cm" and "5 m" carry units; "5x", "5 x" and "5m" are products.
        if known is None and (not spaced or len(name) < 3 or name in FUNCTIONS):
            return None
        if len(name) == 1 and not spaced:
            return None
        if match[2]:
            words.append("square" if match[2] == "2" else "cubic")
        words.append(known or _singular(name))
    return " ".join(words)


def _singular(word: str) -> str:
    if re.search(r"(?:x|ch|sh|ss)es$", word):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def same_quantity(a: Quantity, b: Quantity) -> bool:
    """Equal values, and units that agree or are missing on one side. `50%` is both 50 and 1/2."""
    if a.unit and b.unit and a.unit != b.unit:
        return False
    if _close(a, b):
        return True
    if (a.unit == "%") != (b.unit == "%"):
        percent, other = (a, b) if a.unit == "%" else (b, a)
        shifted = None if percent.decimals is None else percent.decimals + 2
        return _close(Quantity(percent.value / 100, shifted, ""), other)
    return False


def _close(a: Quantity, b: Quantity) -> bool:
    """Exact, except that six or more correct decimals stand for a fraction that has no last decimal."""
    if a.value == b.value:
        return True
    if (a.decimals is None) == (b.decimals is None):
        return False
    decimal, fraction = (a, b) if b.decimals is None else (b, a)
    places = decimal.decimals or 0
    return places >= 6 and abs(decimal.value - fraction.value) * 10**places < 1


def quick(a: str, b: str) -> bool | None:
    """Settles two normal forms without algebra: equal texts, two plain numbers, words. None: cannot say."""
    if not a or not b:
        return False
    if key(a) == key(b):
        return True
    first, second = quantity(a), quantity(b)
    if first is not None and second is not None:
        return same_quantity(first, second)
    if _is_clock(a) or _is_clock(b):
        return _same_clock(a, b)
    long_words = (is_words(form) and re.search(r"[^\W\d_]{3}", form) for form in (a, b))
    if any(long_words):
        return False
    return None


def _is_clock(form: str) -> bool:
    return re.match(r"[0-9]+\s?:\s?[0-9]", form) is not None


def _same_clock(a: str, b: str) -> bool:
    """Two times or ratios: the same numbers, and the same half of the day where both name it."""
    pattern = r"([0-9]{1,9}(?:\s?:\s?[0-9]{1,9})+)\s*([ap]m|)"
    first, second = (re.fullmatch(pattern, form, re.IGNORECASE) for form in (a, b))
    if first is None or second is None:
        return False
    numbers = [[int(n) for n in match[1].split(":")] for match in (first, second)]
    halves = {match[2].lower() for match in (first, second)} - {""}
    return numbers[0] == numbers[1] and len(halves) < 2
