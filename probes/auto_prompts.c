/* auto_prompts.c - prompts that leave a model free to speak of anything: the sweep's, and others on which
 * what it picked is tested. They ask for kinds (a place, a thing, somebody, a day, a feeling, anything at all), each
 * in turn, so that a concept of any kind has somewhere to show; they name none. */
#include "probes/auto.h"

/* They ask a chat for a piece of text, not for its opinion: about itself a chat model says what it always says.
 * Every third screens. */
static const char *const CHAT[] = {
    "Tell me about a place.",
    "Write a short story.",
    "Give me a piece of advice.",
    "Recommend a holiday.",
    "Tell me about a person.",
    "Tell me something interesting.",
    "Describe a beautiful view.",
    "Describe a normal day.",
    "Write a poem.",
    "Name a place.",
    "Write the first lines of a novel.",
    "Write a postcard to a friend.",
};
static const char *const PLAIN[] = {
    "Last year we moved to",
    "I think that",
    "The thing I like most is",
    "The story begins with",
    "They live in",
    "When I woke up, I saw",
    "Yesterday we talked about",
    "The most beautiful place is",
    "My neighbour always says:",
    "What I need now is",
    "She comes from",
    "Tomorrow I will",
};
static const char *const HELD_OUT_CHAT[] = {
    "Write a letter to a friend.",
    "Tell me about a journey.",
    "Recommend a place to visit.",
    "Describe a street.",
    "Write a short dialogue.",
    "Tell me a story about a child.",
    "Describe a house.",
    "Name something famous.",
    "Write a diary entry.",
    "Tell me about a good restaurant.",
    "Write a news headline.",
    "Describe a picture on a wall.",
    "Tell me a fact about history.",
    "Write an advertisement.",
    "Describe a perfect morning.",
    "Tell me about a sport.",
    "Write a song.",
    "Where should I go this weekend?",
    "Describe a walk.",
    "Tell me about a famous building.",
    "Write the opening scene of a film.",
    "Describe the weather.",
    "Tell me about an artist.",
    "Give me an example of something beautiful.",
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
