"""What the benchmark of speculation asks: five kinds of prompts, some to learn on, one to report.

No prompt that acceptance is learned on is reported.
"""

__all__ = ["KINDS", "Kind"]

from msgspec import Struct


class Kind(Struct, frozen=True, kw_only=True):
    """One kind of prompt, and the most tokens of its answer."""

    name: str
    most_tokens: int
    learned: tuple[str, ...]
    reported: str


_EDIT = (
    'Rename "{old}" to "{new}" and return the whole function, nothing else.\n```python\n{code}\n```'
)

_ORDER = """\
def total_price(items, tax_rate, discount):
    subtotal = 0
    for item in items:
        subtotal = subtotal + item["price"] * item["quantity"]
    if discount > 0:
        subtotal = subtotal - subtotal * discount
    tax = subtotal * tax_rate
    result = subtotal + tax
    print("Subtotal:", subtotal)
    print("Total:", result)
    return result"""

_QUEUE = """\
def drain(queue, handler, limit):
    handled = 0
    failed = []
    while queue and handled < limit:
        message = queue.pop(0)
        try:
            handler(message)
        except ValueError as error:
            failed.append((message, str(error)))
        handled = handled + 1
    print("handled", handled, "failed", len(failed))
    return handled, failed"""

_TABLE = """\
def parse_table(text, separator):
    rows = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(separator)]
        if not any(cells):
            continue
        rows.append(cells)
    width = max(len(row) for row in rows)
    for row in rows:
        while len(row) < width:
            row.append("")
    return rows"""

_MEAN = """\
def moving_mean(values, width):
    means = []
    window = []
    for value in values:
        window.append(value)
        if len(window) > width:
            window.pop(0)
        means.append(sum(window) / len(window))
    print("means", len(means))
    return means"""

_LEVEL = """\
def water_level(readings, low, high):
    alarms = 0
    level = readings[0]
    for reading in readings[1:]:
        level = 0.8 * level + 0.2 * reading
        if level < low or level > high:
            alarms = alarms + 1
    if alarms > 0:
        print("alarms:", alarms)
    return level, alarms"""

_QUOTE = (
    "Text: {text}\n\nQuote word for word the two sentences of the text that say {what}. "
    "Answer with the quotation only."
)

_HARBOUR = (
    "The harbour office opens at six. Boats longer than twelve metres must register the evening "
    "before and pay a berth fee of forty crowns. Smaller boats may moor at the outer pier without "
    "registering for up to three nights. The fuel station closes at noon on Sundays. Guests who "
    "leave before sunrise drop their key into the red box beside the door."
)
_ARCHIVE = (
    "The archive keeps letters, maps and account books of the town since 1612. Readers order "
    "documents one day ahead and receive at most five at a time. Photographs are allowed without "
    "flash and only for private study. The reading room is heated to sixteen degrees. On Fridays "
    "a bookbinder shows how damaged pages are repaired with rice paste."
)
_GARDEN = (
    "The garden is open from April to October. Dogs must be kept on a lead and may not enter the "
    "rose walk. Children under ten enter free if an adult is with them. Picnics are welcome on the "
    "lower lawn but not by the pond. The greenhouse shows orchids on the first weekend of a month."
)
_LIBRARY = (
    "A card costs nothing for residents. Books may be kept for four weeks and renewed twice unless "
    "somebody waits for them. Films must come back within seven days and cannot be renewed. The "
    "music room is booked at the front desk. Lost cards are replaced for three crowns."
)
_EXTRACT = (
    'Copy every name and phone number from the text into a JSON list of {{"name", "phone"}} '
    "objects. Only JSON.\nText: {text}"
)

KINDS: tuple[Kind, ...] = (
    Kind(
        name="code_edit",
        most_tokens=48,
        learned=(
            _EDIT.format(old="handled", new="processed", code=_QUEUE),
            _EDIT.format(old="cells", new="columns", code=_TABLE),
            _EDIT.format(old="means", new="averages", code=_MEAN),
            _EDIT.format(old="alarms", new="warnings", code=_LEVEL),
        ),
        reported=_EDIT.format(old="result", new="grand_total", code=_ORDER),
    ),
    Kind(
        name="rag_quote",
        most_tokens=24,
        learned=(
            _QUOTE.format(text=_ARCHIVE, what="how many documents and which photographs"),
            _QUOTE.format(text=_GARDEN, what="where dogs may go and who enters free"),
            _QUOTE.format(text=_LIBRARY, what="how long books and films may be kept"),
        ),
        reported=_QUOTE.format(text=_HARBOUR, what="what larger and smaller boats must do"),
    ),
    Kind(
        name="extraction",
        most_tokens=40,
        learned=(
            _EXTRACT.format(
                text="Ida Holm 555-0171, Tom Reyes 555-0184, Li Na 555-0116, Omar Aziz 555-0150."
            ),
            _EXTRACT.format(
                text="Call Eva Brandt on 555-0133 or, at night, Jon Vik 555-0190; Ana Sousa has "
                "555-0125, her brother Rui Sousa 555-0128."
            ),
        ),
        reported=_EXTRACT.format(
            text="Maria Lopez 555-0142, John Carter 555-0199, Wei Zhang 555-0107, "
            "Aisha Khan 555-0163."
        ),
    ),
    Kind(
        name="prose",
        most_tokens=16,
        learned=(
            "Describe in about 60 words how a lighthouse keeper spends a winter night.",
            "Describe in about 60 words a market square early on a rainy morning.",
        ),
        reported="Describe in about 60 words a train journey through mountains in autumn.",
    ),
    Kind(
        name="chat",
        most_tokens=16,
        learned=(
            "Hi! I have two free days in Lisbon next week. What would you do there?",
            "My neighbour practises the trumpet every evening. How do I bring it up kindly?",
        ),
        reported="I slept badly and have a long meeting at nine. How do I get through it?",
    ),
)
"""The kinds, from what repeats its prompt most to what repeats it least."""
