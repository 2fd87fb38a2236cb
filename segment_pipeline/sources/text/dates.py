"""How people and programs write days and moments: which forms a text may be of, and the SQL that reads a form.

Here: forms, as text. A form is a format of strptime, or one of the names below; of a spelling that strptime does not
know with " with" and its name behind it, and of moments that become local times with " in" and the zone. Not here:
which form a column is written in, which its values decide (quickstart/columns.py).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from segment_pipeline.database.quoting import literal, string_list

ISO = "ISO 8601"
EPOCH, EPOCH_MS, EPOCH_US = "seconds since 1970", "milliseconds since 1970", "microseconds since 1970"
SERIAL = "days since 1900, as spreadsheets count"
QUARTER, WEEK = "quarters", "weeks of ISO 8601"

SINCE_1970 = {EPOCH: 1, EPOCH_MS: 1_000, EPOCH_US: 1_000_000}
"""Form -> how many there are in a second."""

IN_ZONE, SPELLED = " in ", " with "

DATE_FORMATS = {
    "%d/%m/%Y": "31/12/2024",
    "%m/%d/%Y": "12/31/2024",
    "%d.%m.%Y": "31.12.2024",
    "%d-%m-%Y": "31-12-2024",
    "%m-%d-%Y": "12-31-2024",
    "%Y/%m/%d": "2024/12/31",
    "%Y.%m.%d": "2024.12.31",
    "%d/%m/%y": "31/12/24",
    "%m/%d/%y": "12/31/24",
    "%d.%m.%y": "31.12.24",
    "%d. %m. %Y": "31. 12. 2024",
    "%d %b %Y": "31 Dec 2024",
    "%d %B %Y": "31 December 2024",
    "%b %d, %Y": "Dec 31, 2024",
    "%B %d, %Y": "December 31, 2024",
    "%b %d %Y": "Dec 31 2024",
    "%B %d %Y": "December 31 2024",
    "%d-%b-%Y": "31-Dec-2024",
    "%d-%b-%y": "31-Dec-24",
    "%b-%d-%Y": "Dec-31-2024",
    "%b-%d-%y": "Dec-31-24",
    "%d/%b/%Y": "31/Dec/2024",
    "%d%b%Y": "31DEC2024",
    "%d%b%y": "31DEC24",
    "%Y-%b-%d": "2024-Dec-31",
    "%a, %d %b %Y": "Tue, 31 Dec 2024",
    "%a %b %d %Y": "Tue Dec 31 2024",
    "%a, %b %d, %Y": "Tue, Dec 31, 2024",
    "%A, %B %d, %Y": "Tuesday, December 31, 2024",
    "%A, %d %B %Y": "Tuesday, 31 December 2024",
    "%Y年%m月%d日": "2024年12月31日",
    "%Y%m%d": "20241231",
    "%d%m%Y": "31122024",
}
"""Days as people write them, besides ISO 8601; each also with a time of day."""

MONTH_FORMATS = {
    "%Y-%m": "2024-12",
    "%Y/%m": "2024/12",
    "%Y.%m": "2024.12",
    "%m/%Y": "12/2024",
    "%m.%Y": "12.2024",
    "%m-%Y": "12-2024",
    "%b %Y": "Dec 2024",
    "%B %Y": "December 2024",
    "%b-%Y": "Dec-2024",
    "%b %y": "Dec 24",
    "%b-%y": "Dec-24",
    "%YM%m": "2024M12",
    "%Y%m": "202412",
}
PERIODS = {QUARTER: "2024-Q4", WEEK: "2024-W52", **MONTH_FORMATS}
"""What lasts longer than a day, and is taken for its first day; a quarter for that of its last month."""

EXAMPLES = {**DATE_FORMATS, **PERIODS}

_GAPS = (" ", ", ", "T", ":", "-")
_TIMES = (
    *("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M:%S.%f %p", "%I:%M%p", "%I:%M:%S%p"),
    *("%H.%M", "%H.%M.%S", "%H.%M.%S.%f", "%I.%M.%S %p", "%I.%M.%S.%f %p", "%Hh%M", "%Hh%Mm%S", "%H%M%S", "%H%M"),
)
_UNIX = ("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y")
_ISO_TIMES = ("", *(f"{gap}{time}" for gap in " T" for time in ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f")))
_ISO_DAY = "%Y-%m-%d"

_CODES = {
    "%Y": r"\d{4}",
    "%y": r"\d\d",
    "%f": r"\d{1,9}",
    "%b": "[A-Za-z]{3}",
    "%B": "[A-Za-z]{3,9}",
    "%a": "[A-Za-z]{3}",
    "%A": "[A-Za-z]{6,9}",
    "%p": "[AaPp][Mm]",
    "%z": r"[+-]\d\d:?\d\d",
}
ZONE_LETTERS = r":\d\d(?: [AP]M)? ([A-Z]{3,5})$"
_ZONE = re.compile(r"[:.]\d\d(?: ?[AP]M)? (?:([A-Z]{3,5})$|([A-Z]{3,5}) \d{4}$|([A-Z]{3})[+-]\d{4})")


@cache
def _like(form: str) -> re.Pattern[str]:
    """Texts that may be of a format, whose numbers may have a digit less."""
    parts = re.split(r"(%[A-Za-z])", form)
    of = (
        _CODES.get(part, r"\d{1,2}") if part.startswith("%") else re.sub(r"(\\?\s)+", r"\\s*", re.escape(part))
        for part in parts
    )
    return re.compile("".join(of))


def forms_like(texts: Iterable[str]) -> list[str]:
    """Formats of strptime, besides ISO 8601, of which one of the texts at least may be; of moments in UTC with the zone
    behind it. The order is that of the tables above."""
    shapes = {re.sub(r"\d", "0", text) for text in texts}
    zones = sorted({zone for shape in shapes for found in _ZONE.findall(shape) for zone in found if zone})
    behind = ["", "Z", "%z", " %z", *(f" {zone}" for zone in zones), *(f" {zone}%z" for zone in zones)]
    unix = (*_UNIX, *(f"%a %b %d %H:%M:%S {zone} %Y" for zone in zones))
    found = [form for form in (*MONTH_FORMATS, *unix) if _any(form, shapes)]
    for day in (*DATE_FORMATS, _ISO_DAY):
        rests = {shape[match.end() :] for shape in shapes if (match := _like(day).match(shape))}
        if "" in rests and day != _ISO_DAY:
            found.append(day)
        times = [f"{gap}{time}" for gap in _GAPS for time in _TIMES if rests - {""}]
        found += [
            day + time + zone
            for time in times
            if not (day == _ISO_DAY and time in _ISO_TIMES)
            for zone in behind
            if any(_like(time + zone).fullmatch(rest) for rest in rests)
        ]
    return [f"{form}{IN_ZONE}UTC" if "%z" in form else form for form in found]


def _any(form: str, shapes: Iterable[str]) -> bool:
    return any(_like(form).fullmatch(shape) for shape in shapes)


def period_of(form: str) -> str:
    """What a form tells at most: "quarter", "week", "month", or "day" and less."""
    form = form.partition(IN_ZONE)[0].partition(SPELLED)[0]
    if form in (QUARTER, WEEK):
        return {QUARTER: "quarter", WEEK: "week"}[form]
    return "month" if form in MONTH_FORMATS else "day"


def tells_time(form: str) -> bool:
    """Whether a format says the time of day."""
    return re.search(r"%[HI]|since 1970", form) is not None


# --- spellings --------------------------------------------------------------------------------------------------------

_BUDDHIST, _DIGITS, _NOON = "years of Buddha", "digits of another script", "a.m. and p.m."
_ORDINALS, _REMARK = "ordinals", "a remark behind"
_MONTH_NAMES = {
    "German": "jan feb mär apr mai jun jul aug sep okt nov dez",
    "French": "janv févr mars avr mai juin juil août sept oct nov déc",
    "Spanish": "ene feb mar abr may jun jul ago sep oct nov dic",
    "Italian": "gen feb mar apr mag giu lug ago set ott nov dic",
    "Dutch": "jan feb maart apr mei jun jul aug sep okt nov dec",
    "Portuguese": "jan fev mar abr mai jun jul ago set out nov dez",
    "Polish": "sty lut mar kwi maj cze lip sie wrz paź lis gru",
    "Swedish": "jan feb mars apr maj jun jul aug sep okt nov dec",
    "Turkish": "oca şub mar nis may haz tem ağu eyl eki kas ara",
    "Russian": "янв фев мар апр ма июн июл авг сен окт ноя дек",
}
"""How the names of months begin, from January on, where they are not those of English in all."""

DIGITS = ("٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹０１２３４５６７８９٫．，／：－", "0123456789" * 3 + "..,/:-")
"""Digits of Arabic, of Persian and of full width with the marks among them, and ours."""

SPELLINGS = {
    _DIGITS: f"[{DIGITS[0]}]",
    _NOON: r"\d ?[ap]\. ?m\.",
    _ORDINALS: r"\d(st|nd|rd|th)(\W|$)",
    _REMARK: r"\d[^(]*\(.*\)$",
    _BUDDHIST: r"(^|\D)2[45]\d\d(\D|$)",
    **{f"{language} months": rf"(^|[^\pL])({'|'.join(names.split())}).*\d" for language, names in _MONTH_NAMES.items()},
}
"""Ways of writing dates of which strptime knows nothing -> a pattern of texts, in lower case, that may be of it."""

_AS_USUAL: dict[str, Callable[[str], str]] = {
    _DIGITS: lambda text: f"translate({text}, {literal(DIGITS[0])}, {literal(DIGITS[1])})",
    _NOON: lambda text: rf"regexp_replace({text}, '([ap])\. ?m\.', '\1m', 'i')",
    _ORDINALS: lambda text: rf"regexp_replace({text}, '(\d)(st|nd|rd|th)', '\1', 'i')",
    _REMARK: lambda text: rf"regexp_replace({text}, '\s*\(.*$', '')",
}
"""Spellings whose texts are of a usual form once this is done to them."""


def forms_spelled(spelling: str, usual: Callable[[Callable[[str], str]], Iterable[str]]) -> list[str]:
    """Forms in one of SPELLINGS. usual : the texts of the column once something is done to them in SQL."""
    if spelling in _AS_USUAL:
        forms = [ISO, *forms_like(usual(_AS_USUAL[spelling]))]
    elif spelling == _BUDDHIST:
        shifted = forms_like(re.sub(r"2[45](\d\d)", r"20\1", text) for text in usual(lambda text: text))
        forms = [form for form in (_ISO_DAY, f"{_ISO_DAY} %H:%M:%S", *shifted) if "%Y" in form and "%Y%m" not in form]
    else:
        forms = [f"{day}{time}" for day in ("%d %Y", "%d %y") for time in ("", " %H:%M", " %H:%M:%S")]
    return [f"{form.partition(IN_ZONE)[0]}{SPELLED}{spelling}{''.join(form.partition(IN_ZONE)[1:])}" for form in forms]


def _in_words_of(spelling: str, value: str, form: str) -> tuple[str, str]:
    """An expression of the text with a year of ours, or a month in digits, first, and its format. The year is rewritten
    before it is read, or 29 February would be none in a year of Buddha."""
    if spelling == _BUDDHIST:
        year = f"TRY_CAST(regexp_extract({value}, '2[45]\\d\\d') AS INTEGER) - 543"
        return f"concat({year}, ' ', regexp_replace({value}, '2[45]\\d\\d', ''))", f"%Y {form.replace('%Y', '')}"
    names = _MONTH_NAMES[spelling.removesuffix(" months")].split()
    found = f"regexp_extract(lower({value}), {literal('|'.join(sorted(names, key=len, reverse=True)))})"
    digits = f"trim(regexp_replace({value}, '[^\\d:]+', ' ', 'g'))"
    return f"concat(list_position({string_list(names)}, {found}), ' ', {digits})", f"%m {form}"


# --- as SQL -----------------------------------------------------------------------------------------------------------


def time_sql(value: str, form: str) -> str:
    """An expression of text as a timestamp, of a moment the local time of its zone; NULL where it is none."""
    _, _, zone = form.partition(IN_ZONE)
    moment = instant_sql(value, form)
    return f"timezone({literal(zone)}, {moment})" if zone else moment


def instant_sql(value: str, form: str) -> str:
    """As `time_sql`, of moments the TIMESTAMPTZ that they are in any zone."""
    form, _, zone = form.partition(IN_ZONE)
    form, _, spelling = form.partition(SPELLED)
    if spelling in _AS_USUAL:
        value = _AS_USUAL[spelling](value)
    elif spelling:
        value, form = _in_words_of(spelling, value, form)
    if form == ISO and zone:
        # +0200 is no offset to DuckDB, and +02:00 is
        colon = f"regexp_replace({value}, ' ?([+-]\\d\\d):?(\\d\\d)$', '\\1:\\2')"
        return f"TRY_CAST({colon} AS TIMESTAMPTZ)"
    if form == ISO:
        return f"TRY_CAST({value} AS TIMESTAMP)"
    if form in SINCE_1970:
        moment = f"make_timestamp(CAST(TRY_CAST({value} AS DOUBLE) * {1_000_000 // SINCE_1970[form]} AS BIGINT))"
        return f"timezone('UTC', {moment})" if zone else moment
    if form == SERIAL:
        return f"TIMESTAMP '1899-12-30' + to_seconds(CAST(round(TRY_CAST({value} AS DOUBLE) * 86400) AS BIGINT))"
    if form == QUARTER:
        year, quarter = f"regexp_extract({value}, '\\d{{4}}')", f"regexp_extract({value}, '[QqTt]([1-4])', 1)"
        return f"try_strptime(concat({year}, '-', TRY_CAST({quarter} AS INTEGER) * 3), '%Y-%m')"
    if form == WEEK:
        year, week = f"regexp_extract({value}, '\\d{{4}}')", f"regexp_extract({value}, '[Ww](\\d\\d?)', 1)"
        return f"try_strptime(concat({year}, '-', lpad({week}, 2, '0'), '-1'), '%G-%V-%u')"
    return f"try_strptime({value}, {literal(form)})"


_SURELY = {
    # DuckDB casts more than ISO 8601 to a timestamp; here only a year first makes it one
    ISO: r"\d{4}-\d{1,2}-\d{1,2}([T ].*)?",
    QUARTER: r"(?i)\d{4}[-/. ]?[QT][1-4]|[QT][1-4][-/. ]?\d{4}",
    WEEK: r"(?i)\d{4}[-/. ]?K?W\d\d?|K?W\d\d?[-/. ]?\d{4}",
}

SERIALS = (32874, 55153)
"""1990 to 2050, as spreadsheets count days."""


def strict_sql(value: str, form: str) -> str:
    """As `time_sql`, of a text that is surely meant so."""
    bare, _, zone = form.partition(IN_ZONE)
    bare, _, spelling = bare.partition(SPELLED)
    if spelling in _AS_USUAL:
        value, form = _AS_USUAL[spelling](value), f"{bare}{IN_ZONE}{zone}" if zone else bare
    if bare == SERIAL:
        value = f"CASE WHEN TRY_CAST({value} AS DOUBLE) BETWEEN {SERIALS[0]} AND {SERIALS[1]} THEN {value} END"
    elif bare in _SURELY:
        value = f"CASE WHEN regexp_full_match({value}, {literal(_SURELY[bare])}) THEN {value} END"
    return time_sql(value, form)


def first_of(values: Sequence[str]) -> str:
    """The first of expressions that is not NULL."""
    return values[0] if len(values) == 1 else f"coalesce({', '.join(values)})"
