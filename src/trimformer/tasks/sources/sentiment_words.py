"""The vocabulary of the built-in sentiment set: four fields with their things, parts and judgements."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One field of life.

    Parts are singular, so that 'was' always agrees; a judgement fits, more or less, every part of its field.
    """

    things: tuple[str, ...]
    parts: tuple[str, ...]
    good: tuple[str, ...]
    bad: tuple[str, ...]
    others: tuple[str, ...]
    settings: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in text.split("|"))


GOOD = _words(
    "good great excellent superb wonderful brilliant terrific impressive delightful outstanding "
    "remarkable splendid fantastic marvellous lovely satisfying first-rate memorable"
)
BAD = _words(
    "bad poor awful terrible dreadful mediocre disappointing lousy appalling weak abysmal horrible "
    "pathetic miserable shoddy frustrating second-rate forgettable"
)
RARE_GOOD = _words(
    "exquisite sublime stellar dazzling sumptuous peerless faultless exemplary enchanting commendable top-notch "
    "praiseworthy likeable admirable"
)
RARE_BAD = _words(
    "atrocious ghastly woeful dire dismal lacklustre abominable laughable unbearable deplorable substandard "
    "lamentable grim amateurish"
)
"""Judgements of every field that only the validation rows have."""

FILMS = Field(
    things=_words("film thriller documentary comedy sequel drama western remake musical mystery cartoon romance"),
    parts=_phrases(
        "plot | acting | script | soundtrack | dialogue | camera work | ending | opening scene | lead "
        "actor | villain | editing | direction | humour | pacing | supporting cast | story | lighting | "
        "final act"
    ),
    good=_words("gripping moving witty clever touching inventive absorbing subtle charming fresh stylish thrilling"),
    bad=_words("dull tedious clumsy shallow predictable lifeless muddled silly stale sluggish contrived boring"),
    others=_phrases("the critic | my brother | the festival jury | the local paper | the reviewer | my flatmate"),
    settings=_phrases(
        "We saw it at a late show | I watched it on a long flight | It was on television last Friday | I "
        "caught it at the film club | We rented it over the weekend | I went with two friends from work | "
        "It runs for just under two hours | I saw it in a half-empty cinema"
    ),
)
FOOD = Field(
    things=_words("restaurant bistro cafe pizzeria bakery diner brasserie canteen steakhouse pub trattoria takeaway"),
    parts=_phrases(
        "soup | pasta | fish | bread | dessert | sauce | coffee | steak | salad | curry | house wine | "
        "starter | risotto | cheese board | lemon tart | roast chicken | seafood platter | breakfast"
    ),
    good=_words("delicious tasty fresh flavourful tender fragrant crisp juicy heavenly appetising mouth-watering rich"),
    bad=_words("bland soggy greasy stale tasteless rubbery burnt watery overcooked lukewarm sour inedible"),
    others=_phrases("the guidebook | my aunt | the food blog | our neighbour | the taxi driver | my boss"),
    settings=_phrases(
        "We ate there on a Tuesday | I had lunch there with a client | We ordered for six people | We "
        "booked a table by the window | I stopped there on my way home | We went for my sister's birthday "
        "| It is two streets from the station | We sat outside on the terrace"
    ),
)
GADGETS = Field(
    things=_words("phone laptop camera headset tablet printer speaker router watch keyboard blender vacuum"),
    parts=_phrases(
        "battery | screen | charger | manual | software | build quality | menu | sound | lens | hinge | "
        "packaging | power button | carrying case | customer support | setup | wireless range | motor | "
        "finish"
    ),
    good=_words("reliable sturdy solid efficient polished well-made dependable flawless elegant handy robust superior"),
    bad=_words("flimsy faulty clunky defective unreliable cheap awkward useless buggy fragile inferior crude"),
    others=_phrases("the salesman | a magazine test | my colleague | the forum | the advert | my nephew"),
    settings=_phrases(
        "I bought it in March | It arrived after four days | I use it every day at the office | I ordered "
        "the black one | It replaced one that was six years old | I have owned it for a month | It was a "
        "present from my parents | I took it on a trip to Norway"
    ),
)
HOTELS = Field(
    things=_words("hotel hostel guesthouse resort lodge inn motel cottage campsite apartment villa cabin"),
    parts=_phrases(
        "room | bed | view | bathroom | reception desk | pool | lobby | location | garden | breakfast "
        "buffet | shower | staff | balcony | gym | air conditioning | bar | parking | room service"
    ),
    good=_words(
        "comfortable spotless welcoming spacious peaceful cosy inviting immaculate pleasant relaxing tidy perfect"
    ),
    bad=_words("dirty noisy cramped shabby filthy run-down gloomy unpleasant neglected smelly dingy unwelcoming"),
    others=_phrases("the travel agent | the brochure | my cousin | another guest | the booking site | a friend"),
    settings=_phrases(
        "We stayed for three nights | I was there for a conference | We arrived late on a Sunday | We had "
        "two rooms on the third floor | I booked it through work | We stopped there on the way south | We "
        "travelled with our children | It lies ten minutes from the beach"
    ),
)
FIELDS = (FILMS, FOOD, GADGETS, HOTELS)
