"""What the invented customers of the quickstart say: the wording behind ``make_data.py``.

Lists named ``UNSEEN_...`` are for held-out tickets alone: layouts, greetings and phrases that occur
in no other file (of words that do), and pairs of product and intent that no row to train on has.
"""

PRODUCTS = {
    "router": ("router", "Atlas router"),
    "camera": ("camera", "Iris camera"),
    "thermostat": ("thermostat", "Ember thermostat"),
    "speaker": ("speaker", "Lark speaker"),
    "lamp": ("lamp", "Sol lamp"),
    "lock": ("lock", "Vault lock"),
}

INTENTS = {
    "refund": (
        "I want a refund for my {p}",
        "please refund the {p}",
        "I'd like my money back for the {p}",
        "can I get my money back, the {p} is not for me",
        "the {p} was a mistake, refund please",
        "you still owe me a refund on that {p}",
        "requesting a full refund of the {p} I bought",
    ),
    "repair": (
        "my {p} is broken",
        "the {p} stopped working",
        "the {p} does not turn on any more",
        "can somebody repair my {p}?",
        "the {p} broke after a few days",
        "the screen of the {p} is broken",
        "the {p} no longer works since the update",
    ),
    "setup": (
        "how do I set up the {p}?",
        "I cannot install the {p}",
        "need help with setup of the {p}",
        "the {p} will not pair during setup",
        "I am stuck at step two of installing my {p}",
        "the {p} setup guide is unclear to me",
        "how can I connect the new {p}?",
    ),
    "delivery": (
        "my {p} has not arrived",
        "where is the {p} I ordered?",
        "the {p} was never delivered",
        "the parcel with the {p} is late",
        "the courier lost my {p}",
        "still waiting for the delivery of the {p}",
        "I ordered a {p} and nothing arrived",
    ),
    "cancel": (
        "please cancel my order of the {p}",
        "I want to cancel the {p} plan",
        "stop the subscription for my {p}",
        "cancel the {p}, I changed my mind",
        "I no longer want the {p} plan, cancel it",
        "I need the {p} order cancelled",
        "do not renew the {p} subscription",
    ),
}

URGENCIES = {
    "high": (
        "this is urgent",
        "URGENT!!",
        "I need an answer today",
        "it can't wait",
        "asap please",
        "we are losing sales every hour",
        "we need it fixed today",
    ),
    "normal": (
        "some time this week is fine",
        "please answer in the next few days",
        "tomorrow would be good",
        "this week would be nice",
        "a reply within a few days is ok",
        "next week is early enough",
        "I can wait until tomorrow",
        "next week would be fine",
        "a reply tomorrow is ok",
        "an answer this week is enough",
    ),
    "low": (
        "no rush",
        "take your time",
        "whenever you have a moment",
        "it is not important",
        "low priority for me",
        "there is really no hurry",
    ),
}

UNSEEN_URGENCIES = {
    "high": ("urgent, I can't wait", "asap! today please", "today please, asap"),
    "normal": (
        "answer within the next few days",
        "this week would be fine",
        "tomorrow would be ok",
    ),
    "low": ("really no rush at all", "not important, take your time"),
}

PLATFORMS = {
    "ios": ("I use an iPhone", "iphone here", "on my iPad", "(sent from my iPhone)", "iOS app"),
    "android": (
        "I use Android",
        "android phone here",
        "on my Pixel phone",
        "on a Galaxy tablet",
        "Android app",
    ),
    "web": (
        "I use the website",
        "in the browser",
        "in Firefox on my laptop",
        "on your web page",
        "Chrome browser here",
    ),
    "unknown": ("I told you before", "see above", "that is all I know", "no app, just the box"),
}

GREETINGS = (
    "Hi",
    "Hello",
    "hey",
    "Dear team",
    "Good morning",
    "hi there",
    "To whom it may concern",
)
UNSEEN_GREETINGS = ("Hello there", "Good morning team", "hi team")

NOISES = (
    "I have been a customer for years",
    "it came in a blue box",
    "the dog is fine, by the way",
    "I already wrote to you on Monday",
    "my wife bought it in the café",
    "the box was a bit wet",
    "we moved house in spring",
    "it was a gift from my son",
    "I read every page — twice",
    "my colleague has the same one",
    "your last mail was “empty”",
    "I don’t speak English well",
    "the señor in the shop was kind",
    "we are a small bakery",
    "my kids love it",
    "I kept the receipt",
    "a friend told me to write here",
    "it was raining all day",
    "the garden looks lovely",
)

SIGNATURES = (
    "Thanks, {n}",
    "thx",
    "Regards, {n}",
    "{n}",
    "Best, {n}",
    "cheers {n}",
    "Thank you!",
    "– {n}",
    "Yours, {n}",
    "",
)

NAMES = (
    "Ana", "Ben", "Chloé", "Dmitri", "Eva", "Farid", "Grace", "Hiro", "Inés", "Jonas", "Kofi",
    "Lena", "Mei", "Noor", "Olga", "Pablo", "Quinn", "Rosa", "Søren", "Tariq", "Uma", "Viktor",
    "Wanda", "Yusuf",
)  # fmt: skip

# A layout says where the parts of a ticket stand: {g}reeting, {i}ntent, {u}rgency, {f} platform,
# two {a} {b} remarks that mean nothing, and the {s}ignature. One layout is one template family.
LAYOUTS = (
    "{g}, {i}. {f}. {u}. {s}",
    "{g}\n{i}\n{a}. {f}. {u}\n{s}",
    "{u}! {i}. {a}. {f}. {s}",
    "{g}, {i}. {f}. {u}. {s}",
    "Subject: {i}\n{g}, {a}. {f}. {u}. {s}",
    "Subject: {u}\n{g}, {i}. {a}. {f}. {s}",
    "customer: {g}\ncustomer: {i}\ncustomer: {f}\ncustomer: {u}",
    "[call] {a}. {i}. {f}. {u}.",
    "{f}. {i}. {u}. {a}. {s}",
    "{g} - {f} - {i} - {u} - {s}",
    "{a}, but {i}. {u}. {f}. {s}",
    "{g}, {u}: {i}. {f}. {b}. {s}",
    "{i}\n\n{a}.\n\n{u}. {f}. {s}",
    "chat 1: {g}, {a}\nchat 2: {i}\nchat 3: {u}, {f}",
    "{a}. {f}. {u}. {i}. {s}",
    "Fwd: {g}, {a}. {u}. {i}. {f}. {s}",
    "{g}! {f}, {a}. And {i}. {u}. {b}. {s}",
    "note from the shop: {i}. {f}. {u}. {a}.",
    "{b}. {u}. {g}, {i}, {a}. {f}. {s}",
    "review: {a}. {i}. {u}. {f}. {b}",
)

UNSEEN_LAYOUTS = (
    "{g}. {a} and {b}. {u}, {i}. {f}. {s}",
    "chat 1: {f}\nchat 2: {a}\nchat 3: {i}\nchat 4: {u}",
    "Subject: {a}\n{f}. {b}. {i}\n{u}\n{s}",
    "{i}. {u}. {a}. {b}. {f}. {g}, {s}",
    "[call] {u}. {f}. {g}, {b}, {i}. {a}.",
)

# Pairs of product and intent that no row to train on has, in any layout.
UNSEEN_PAIRS = frozenset(
    {("router", "cancel"), ("camera", "refund"), ("speaker", "delivery"), ("lamp", "repair")}
)

SYSTEM = "Turn the ticket into JSON."

REFUSALS = (
    "I'm sorry, but I can't help with that request.",
    "I cannot assist with this ticket.",
    "As an AI language model, I am unable to read customer tickets.",
    "Sorry, I'm not able to help with that.",
)

RAMBLES = (
    "Sure! Let me think about this ticket. The customer seems to have something on their mind. {j}",
    "Great question! There are many ways to see it. Here is the JSON: {j} I hope this helps you!",
    "Well, thank you for the ticket, I read it carefully. {j} I may be wrong about some of it.",
    "Of course. The ticket is about a {p}, and about {i}. So it would be {j} and that is all.",
)

# What the phrase book of the base's corpus calls the facts.
FACTS = {"product": PRODUCTS, "intent": INTENTS, "urgency": URGENCIES, "platform": PLATFORMS}

NOTES = (
    "Note: product {p}, intent {i}, urgency {u}, platform {f}.",
    "The product is {p}, the intent is {i}, the urgency is {u} and the platform is {f}.",
    "urgency: {u}, platform: {f}, product: {p}, intent: {i}",
)
QUOTING_NOTES = (
    'We filed it: "intent" is "{i}", "product" is "{p}", "platform" is "{f}", "urgency" is "{u}"',
    'Tags: "{u}", "{p}", "{f}", "{i}"',
    'It is about a "{p}" on "{f}", asks for "{i}", and has priority "{u}".',
)

NOTE_SYSTEM = "Write notes on the ticket."

# What the JSON documents of the base's corpus are about.
THINGS = ("tree", "song", "boat", "soup", "chair", "coat", *PRODUCTS)
QUALITIES = {
    "colour": ("red", "blue", "green"),
    "size": ("small", "large", "tiny"),
    "age": ("old", "new", "ancient"),
    "feel": ("soft", "hard", "rough"),
}
REQUESTS = ("Describe a {t} as JSON.", "JSON for a {t} please", "I saw a {t}, in JSON?")
JSON_SYSTEMS = ("", "Answer in JSON.", SYSTEM)
