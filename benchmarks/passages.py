"""Passages as a search over documents would return them, for answers that quote them or extract facts from them."""

from __future__ import annotations

PASSAGES = (
    "The service desk of the Northwind clinic is open from Monday to Friday between 7:30 and 18:00, and on Saturdays "
    "until noon. Outside of these hours, calls are answered by the emergency line, which forwards urgent cases to "
    "the doctor on duty. Appointments can be moved up to 24 hours before their time without a fee; after that, 35 "
    "euros are charged.",
    "Order 48213 was placed by Maria Jensen of Aarhus on 14 March and left the warehouse in Hamburg two days later. "
    "It contains one coffee grinder, two filters and a cleaning brush, with a total weight of 2.4 kilograms. The "
    "parcel is expected on 19 March before 15:00; a signature of an adult is needed at the door.",
    "To reset the heating controller, hold the round button for ten seconds until the green light blinks twice. "
    "Release it, wait for the display to show the word ready, and then enter the four digits on the back of the "
    "cover. If the light turns red, the code was wrong three times, and the controller is locked for fifteen "
    "minutes.",
    "The night train to Vienna leaves Zurich at 21:40 from platform 7 and arrives at 7:52 the next morning. Sleeping "
    "cars have cabins for one, two or four passengers; breakfast with coffee, bread and jam is included and is "
    "served one hour before the arrival. Bicycles need a reservation of their own, which costs 15 francs.",
    "Paul Okafor joined the maintenance team in Rotterdam in June 2019 as a technician for wind turbines. Since "
    "October 2022 he has led a group of six people who look after 41 turbines along the coast. He speaks English, "
    "Dutch and some German, and can be reached at extension 2290 on weekdays between 8:00 and 16:00.",
    "The museum shows the collection of old maps on the second floor until the end of January. The oldest of them "
    "was drawn in Lisbon in 1519 and shows the coast of Brazil with birds and trees in bright colours. Guided tours "
    "in English begin every day at 11:00 and 14:30, last fifty minutes, and are included in the price of the ticket.",
)

TALKS = (
    "Tell me a short story about a lighthouse keeper and a whale.",
    "What should I think of when I plan a vegetable garden?",
    "Explain why the sky is blue to a child of eight years.",
    "Give me some advice for a first job interview.",
    "Describe a walk through an old town in the morning.",
    "How do I keep friends when I move to another country?",
)

FACTS_SCHEMA = {
    "type": "object",
    "properties": {
        "summary_of_the_passage": {"type": "string", "maxLength": 160},
        "names_of_people_and_places": {"type": "array", "items": {"type": "string", "maxLength": 40}, "maxItems": 4},
        "times_and_dates_mentioned": {"type": "array", "items": {"type": "string", "maxLength": 40}, "maxItems": 4},
        "first_sentence_word_for_word": {"type": "string", "maxLength": 240},
    },
    "required": [
        "summary_of_the_passage",
        "names_of_people_and_places",
        "times_and_dates_mentioned",
        "first_sentence_word_for_word",
    ],
    "additionalProperties": False,
}
