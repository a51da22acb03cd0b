/* auto_prompts.c - prompts that leave a model free to speak of anything: the sweep's, and others on which
 * what it picked is tested. */
#include "probes/auto.h"

static const char *const CHAT[] = {
    "Tell me something interesting.",
    "Where would you like to be right now?",
    "Describe a place.",
    "Write the first lines of a story.",
    "Give me an example of something you like.",
};
static const char *const PLAIN[] = {
    "I think that",
    "The thing I like most is",
    "Yesterday we talked about",
    "The story begins with",
    "When I woke up, I saw",
};
static const char *const HELD_OUT_CHAT[] = {
    "What should we talk about?",
    "Tell me a short story.",
    "Where did you spend your last holiday?",
    "What do you see when you look outside?",
    "Recommend something to me.",
    "Write a postcard to a friend.",
    "What makes you happy?",
    "Describe a perfect morning.",
    "What is your favourite memory?",
    "Invent the title of a book and say what it is about.",
    "What did you dream of last night?",
    "Start a conversation with me.",
    "Name a place worth a visit.",
    "Describe a picture on a wall.",
    "What happened yesterday?",
    "Write a line of a song.",
    "What would you do with a free day?",
    "Tell me about someone you know.",
    "What is worth learning about?",
    "Where does your family live?",
    "Finish this sentence: I have always wanted to",
    "What is the best thing in the world?",
    "Say something kind.",
    "Write a short diary entry.",
};
static const char *const HELD_OUT_PLAIN[] = {
    "The best thing in the world is",
    "Dear diary, today",
    "She opened the letter and read:",
    "Last summer we went to",
    "My favourite memory is",
    "The picture on the wall shows",
    "He sat down and began to",
    "It is well known that",
    "On the way home they passed",
    "If I had a free day, I would",
    "The teacher asked the class about",
    "People often forget that",
    "The news this morning was about",
    "Our family lives in",
    "In the middle of the night",
    "I have always wanted to",
    "The first chapter is about",
    "Let me tell you about",
    "What I remember best is",
    "The old man used to say:",
    "There is nothing better than",
    "A friend of mine once",
    "We should all learn about",
    "The song is about",
};

#define LIST(out, array) (*(out) = (int32_t)(sizeof (array) / sizeof (array)[0]), (array))

const char *const *rh_auto_prompts(int32_t *n, bool chat) { return chat ? LIST(n, CHAT) : LIST(n, PLAIN); }

const char *const *rh_auto_held_out(int32_t *n, bool chat)
{
    return chat ? LIST(n, HELD_OUT_CHAT) : LIST(n, HELD_OUT_PLAIN);
}
