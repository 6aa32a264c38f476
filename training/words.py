"""Holds the word lists for samples, and makes random choices from them."""

from random import Random
from string import ascii_lowercase


def listed(text: str, separator: str | None = None) -> list[str]:
    """Split a text at each separator, or into words without a separator."""
    return [part.strip() for part in text.split(separator)]


ITEMS = listed("""apples pears plums cherries oranges lemons bananas coins books pens stones eggs cards stamps
cookies marbles
balls cups shells tickets stickers candies flowers pencils toys keys buttons nuts cakes boxes""")

NAMES = listed("""Ann Ben Carl Dora Emma Finn Greta Hugo Ida Jan Kai Lena Mia Noah Olga Paul Quinn Rosa Sam
Tina Uma Vera Will
Xenia Yuri Zoe Alice Bob Carol David Eve Frank Grace Heidi Ivan Judy Karl Laura Mario Nina Oscar Petra Ralf Sara Tom
Ursula Viktor Wanda Anna Maria John James Mary Peter Lucy Leo Max Nora Otto Pia Rita Sven Theo Ulla Vito Amir Aisha Chen
Diego Elena Fatima Hiro Ingrid Jose Kenji Lars Mei Omar Priya Raj Sofia Tariq Yara Alex Chris Daniel Eric Felix George
Hannah Isabel Julia Kevin Linda Martin Nick Oliver Robert Simon Thomas Victoria Ada Grace Alan Marie Tim Jane""")

CITIES = listed("""Paris Berlin London Tokyo Rome Madrid Oslo Cairo Lima Boston Chicago Sydney Vienna Prague
Dublin Athens Seoul
Delhi Toronto Helsinki Zurich Munich Hamburg Kyoto Amsterdam Brussels Lisbon Warsaw Nairobi Seattle Denver Geneva""")

COUNTRIES = listed("""France Germany Spain Italy Japan China India Brazil Canada Mexico Norway Sweden Poland
Egypt Kenya Peru
Chile Turkey Greece Portugal""")

LANGUAGES = listed("French German Spanish Italian Japanese Chinese Latin Dutch")

WORDS = listed("""time year people way day man thing woman life child world school state family student group
country problem hand
part place case week company system program question work government number night point home water room mother area
money story fact month lot right study book eye job word business issue side kind head house service friend father
power hour game line end member law car city community name president team minute idea body information back parent
face others level office door health person art war history party result change morning reason research girl guy
moment air teacher force education apple banana cherry dog cat bird fish horse lion tiger bear wolf fox rabbit mouse
snake frog bee ant spider tree flower grass leaf river lake sea ocean mountain hill valley island beach sand stone rock
gold silver iron wood paper glass metal plastic cotton red blue green yellow orange purple black white pink brown grey
big small long short tall high low old new young good bad happy sad fast slow hot cold warm cool dry wet hard soft
light dark clean dirty strong weak rich poor run walk jump swim fly eat drink sleep read write speak listen look see
hear feel think know learn teach build make break open close start stop give take bring buy sell find lose win play
sing dance draw paint cook wash strawberry python notebook jupyter kernel cell model token letter pencil window table
chair kitchen garden bridge train station market bottle butter cheese bread sugar coffee lemon winter summer spring
autumn the a is and of to in it you that he was for on are with as his they at be this have from or one had by hello
quick lazy over moon star sun rain snow cloud""")

SPELLING_WORDS = sorted({word for word in WORDS if len(word) > 2})

LISTS = {
    "fruits": listed("apple banana cherry orange lemon pear plum grape"),
    "colors": listed("red blue green yellow orange purple black white"),
    "animals": listed("dog cat horse lion tiger bear wolf fox"),
    "planets": listed("Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune"),
    "weekdays": listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
    "months": listed("January February March April May June July August"),
    "shapes": listed("circle square triangle star cross heart"),
    "vegetables": listed("carrot potato tomato onion pepper cabbage bean"),
    "letters": listed("a b c d e f g h"),
    "countries": listed("France Germany Spain Italy Japan China India Brazil"),
    "cities": listed("Paris Berlin London Tokyo Rome Madrid Oslo Cairo"),
    "names": listed("Ann Ben Carl Dora Emma Finn Greta Hugo"),
}

NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

TOPICS = listed(
    """quantum physics|the French Revolution|photosynthesis|the stock market|black holes|
the Roman Empire|machine learning|climate change|the human heart|chess openings|cooking pasta|football|politics|
economics|Shakespeare|jazz music|the moon landing|volcanoes|DNA|democracy|electric cars|gardening|
the weather in Berlin|ancient Egypt|neural networks|inflation|yoga|coffee|whales|the solar system|Einstein|the Beatles|
philosophy|blockchain|tax law|the Olympics|dinosaurs|medicine|gravity|the internet|poetry|baking bread|glaciers|
the United Nations|steam engines|fashion|cats and dogs|travel to Japan|linear algebra|SQL joins|love|the universe|
the meaning of life|world peace|sharks|the Eiffel Tower|the Great Wall|bitcoin|music|art|history""",
    "|",
)

SYLLABLE_STARTS = "bcdfghjklmnprstvwz"
SYLLABLE_ENDS = ("a", "e", "i", "o", "u", "ai", "ar", "en", "il", "on")


def letters(rng: Random, shortest: int = 2, longest: int = 7) -> str:
    return "".join(rng.choice(ascii_lowercase) for _ in range(rng.randint(shortest, longest)))


def name(rng: Random) -> str:
    """A name: two thirds from the list, the others invented."""
    if rng.random() < 0.65:
        return rng.choice(NAMES)
    syllables = [rng.choice(SYLLABLE_STARTS) + rng.choice(SYLLABLE_ENDS) for _ in range(rng.randint(1, 3))]
    return "".join(syllables).capitalize()


def number(rng: Random, fewest: int = 1, most: int = 4) -> int:
    """A random number. The number of its digits is chosen first."""
    digits = rng.randint(fewest, most)
    return rng.randint(0 if digits == 1 else 10 ** (digits - 1), 10**digits - 1)


def phrase(rng: Random, shortest: int = 1, longest: int = 8) -> str:
    """A sequence of random words, letters, numbers and names. It has no meaning, so a model can only copy it."""
    text = " ".join(_phrase_word(rng) for _ in range(rng.randint(shortest, longest)))
    return text.capitalize() if rng.random() < 0.3 else text


def _phrase_word(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.72:
        return rng.choice(WORDS)
    if kind < 0.85:
        return letters(rng)
    return str(number(rng)) if kind < 0.92 else name(rng)
