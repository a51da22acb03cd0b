#!/usr/bin/env python3
"""Write the contrastive pairs of the example: sf.csv, tokyo.csv, rain.csv, beside this file.

Sixteen texts that end in the concept; each is paired with the same text ending in eight other things of
its kind. What a pair has in common cancels in the difference, and what is left at the last token
is the concept.
"""
import csv
import pathlib

PLACES = [
    "The city is called {}",
    "One city I know is {}",
    "My favourite city is {}",
    "The answer is {}",
    "A city that everyone knows is {}",
    "The city I am thinking of is {}",
    "The best city in the world is {}",
    "The most beautiful city is {}",
    "I would like to visit {}",
    "I would choose {}",
    "The first city that comes to mind is {}",
    "A great city is {}",
    "The city on the map is {}",
    "The city I would name is {}",
    "An example of a city is {}",
    "The city where I live is {}",
]
CITIES = ["New York", "London", "Paris", "Chicago", "Boston", "Moscow", "Sydney", "Toronto"]

WEATHER = [
    "The forecast for tomorrow is {}",
    "All week there has been nothing but {}",
    "We walked home through the {}",
    "The children looked out at the {}",
    "The farmers are waiting for {}",
    "The match was stopped because of {}",
    "The sound of the {}",
    "She wrote a poem about the {}",
    "The mountains are known for their {}",
    "In autumn there is a lot of {}",
    "The road was closed by {}",
    "He likes to paint {}",
    "The evening began with {}",
    "The news warned of heavy {}",
    "The garden needs less {}",
    "The smell of fresh {}",
]
SKIES = ["snow", "sunshine", "wind", "fog", "heat", "frost", "smoke", "dust"]


def write(name, templates, concept, others):
    path = pathlib.Path(__file__).resolve().parent / name
    with path.open("w", newline="", encoding="utf-8") as f:
        rows = csv.writer(f, lineterminator="\n")
        rows.writerow(["positive", "negative"])
        rows.writerows([t.format(concept), t.format(other)] for t in templates for other in others)


if __name__ == "__main__":
    write("sf.csv", PLACES, "San Francisco", CITIES)
    write("tokyo.csv", PLACES, "Tokyo", CITIES)
    write("rain.csv", WEATHER, "rain", SKIES)
