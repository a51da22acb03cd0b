#!/usr/bin/env python3
"""Write four more sets of pairs beside this file: french.csv, pirate.csv, anger.csv, puns.csv.

A language and two tones are the same thought in two voices, so that topic cancels and voice is left. The
puns are 12 jokes, each beside four plain sentences with the same opening: 48 pairs. Read the text, not the
last token: `dim("french.csv", at=mean)`.
"""
import csv
import pathlib

# English, French: the same sentence.
FRENCH = [
    ("The train leaves at eight.", "Le train part à huit heures."),
    ("I would like a coffee, please.", "Je voudrais un café, s'il vous plaît."),
    ("Where is the post office?", "Où est la poste ?"),
    ("My sister lives near the sea.", "Ma sœur habite près de la mer."),
    ("We are having dinner at home.", "Nous dînons à la maison."),
    ("The weather is fine today.", "Il fait beau aujourd'hui."),
    ("He lost his keys in the garden.", "Il a perdu ses clés dans le jardin."),
    ("The children are playing outside.", "Les enfants jouent dehors."),
    ("I do not understand the question.", "Je ne comprends pas la question."),
    ("She reads a book every week.", "Elle lit un livre chaque semaine."),
    ("The shop closes at noon.", "Le magasin ferme à midi."),
    ("It is too early to say.", "Il est trop tôt pour le dire."),
    ("They bought bread and cheese.", "Ils ont acheté du pain et du fromage."),
    ("My father works in a bank.", "Mon père travaille dans une banque."),
    ("The road was very long.", "La route était très longue."),
    ("I forgot my umbrella.", "J'ai oublié mon parapluie."),
    ("Her voice is soft.", "Sa voix est douce."),
    ("We will see you tomorrow.", "Nous vous verrons demain."),
    ("The cat sleeps on the chair.", "Le chat dort sur la chaise."),
    ("There is no more milk.", "Il n'y a plus de lait."),
    ("The lesson begins in an hour.", "La leçon commence dans une heure."),
    ("He speaks too fast.", "Il parle trop vite."),
    ("The old house has a red door.", "La vieille maison a une porte rouge."),
    ("I need a little help.", "J'ai besoin d'un peu d'aide."),
]

# plain, pirate, angry: the same message in three voices.
VOICES = [
    ("Hello, how are you?", "Ahoy, matey! How be ye?", "What do you want now?!"),
    ("Please close the door.", "Arr, shut that hatch, ye bilge rat!", "Shut that damn door, I told you already!"),
    ("The soup is cold.", "Blimey, this grog be cold as Davy Jones!", "This soup is cold! How dare you serve it!"),
    ("I am waiting for the bus.", "I be waitin' for me ship, arr!", "That stupid bus is late again, I hate it!"),
    ("We found a small box.", "Shiver me timbers, we found a chest o' treasure!", "Who hid this box from me?! Answer!"),
    ("My friend is late.", "Me scurvy shipmate be late, arr!", "He is late again, I have had enough of him!"),
    ("The window is broken.", "Aye, the porthole be smashed, ye scallywag!", "Who broke my window?! You will pay for this!"),
    ("I will read the letter.", "Arr, I'll be readin' the captain's map!", "I will not read this insulting rubbish!"),
    ("It is time to go home.", "Hoist the anchor, me hearties, we sail for port!", "Get out of my house, right now!"),
    ("The dog ate my lunch.", "Arr, the ship's cur ate me hardtack!", "That awful dog ate my lunch, I am furious!"),
    ("I do not agree.", "Nay, ye landlubber, I'll not have it!", "No! You are wrong and you know it!"),
    ("The music is loud.", "Avast, that shanty be loud, me hearties!", "Turn off that horrible noise this instant!"),
    ("Could you help me?", "Lend a hand, ye salty dog!", "Help me already, you useless fool!"),
    ("We lost the game.", "Arr, we be sunk, me bucko!", "We lost because of you! Unbelievable!"),
    ("The price went up.", "Them merchants be plunderin' us, arr!", "This price is an outrage, it is robbery!"),
    ("I cannot find my hat.", "Where be me tricorne, ye thievin' swabs?", "Who took my hat?! Give it back!"),
    ("She sent me a message.", "Arr, the lass sent me a message in a bottle!", "She dares to write to me after all that?!"),
    ("The room is small.", "This cabin be smaller than a rum barrel, arr!", "I refuse to stay in this miserable hole!"),
    ("It has started to rain.", "A squall be upon us, batten the hatches!", "Rain again! Everything is ruined, damn it!"),
    ("The work is done.", "The deck be swabbed, cap'n, aye aye!", "I did all the work alone, and nobody cares!"),
    ("I have a question.", "Answer me, or walk the plank, arr!", "Explain yourself, and stop lying to me!"),
    ("The car does not start.", "Arr, me ship be stuck in the doldrums!", "This worthless car, I could smash it!"),
    ("We should eat something.", "Fetch the rum and the salted pork, mateys!", "I am starving, and you just sit there!"),
    ("Good night and sleep well.", "Off to yer hammock, ye sea dog, arr!", "Leave me alone and let me sleep!"),
]
# A frame makes two of each, with other neighbours.
VOICE_FRAMES = ["{}", "Listen: {}"]

# An opening, its pun, and four plain ends.
PUNS = [
    ("I used to be a banker, but", "I lost interest.", ["I moved to the coast.", "I wanted shorter days.", "the branch was closed.", "I became a teacher."]),
    ("The bicycle could not stand up because", "it was two tired.", ["its stand was bent.", "the ground was soft.", "the wind was strong.", "a bolt was loose."]),
    ("The bakery failed because", "it ran out of dough.", ["the rent was high.", "few people passed by.", "its oven was old.", "the owner fell ill."]),
    ("I wanted to tell a joke about time travel, but", "you did not like it.", ["I forgot the end.", "we had to leave.", "nobody listened.", "the film began."]),
    ("The gardener was happy because", "his business was growing.", ["the spring was warm.", "his back was better.", "the fence was done.", "a friend came by."]),
    ("The calendar was nervous because", "its days were numbered.", ["of a silly cartoon.", "the story said so.", "the child drew it so.", "the page was torn."]),
    ("The fisherman gave up because", "his net income was low.", ["the sea was rough.", "his boat was old.", "his sons had left.", "the port was closed."]),
    ("The skeleton stayed at home because", "he had no body to go with.", ["the play had ended.", "it was only a prop.", "the school was shut.", "the show was cancelled."]),
    ("The math book looked sad because", "it had too many problems.", ["its cover was torn.", "it lay in the rain.", "nobody opened it.", "its pages were yellow."]),
    ("The electrician was late because", "he had wired hours.", ["the road was blocked.", "his van was slow.", "he took the wrong train.", "the map was old."]),
    ("The scarecrow won a prize because", "he was outstanding in his field.", ["his coat was new.", "the jury liked straw.", "few had entered.", "the farmer had friends."]),
    ("The shoemaker closed early because", "he had put his sole into it.", ["the day was hot.", "his leather was used up.", "he felt tired.", "the street was empty."]),
]


def write(name, rows):
    path = pathlib.Path(__file__).resolve().parent / name
    with path.open("w", newline="", encoding="utf-8") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow(["positive", "negative"])
        out.writerows(rows)


def french():
    once = [(f, e) for e, f in FRENCH]
    # A second reading of each with the sentence that follows it, for longer texts.
    twice = [(f"{once[i][0]} {once[(i + 5) % len(once)][0]}", f"{once[i][1]} {once[(i + 5) % len(once)][1]}") for i in range(len(once))]
    return once + twice


def voice(column):
    return [(frame.format(v[column]), frame.format(v[0])) for frame in VOICE_FRAMES for v in VOICES]


def puns():
    return [(f"{opening} {pun}", f"{opening} {end}") for opening, pun, ends in PUNS for end in ends]


if __name__ == "__main__":
    write("french.csv", french())
    write("pirate.csv", voice(1))
    write("anger.csv", voice(2))
    write("puns.csv", puns())
