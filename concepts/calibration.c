/* calibration.c - forty sentences of many kinds: news, recipes, letters, rules, code, figures,
 * talk. Written for this project. Changing one changes what `neutral()` means, and every key. */
#include "concepts/calibration.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

static const char *const sentences[] = {
    "The bridge will be closed on Tuesday morning while workers repaint the railings.",
    "Add the flour a little at a time and stir until the dough no longer sticks to the bowl.",
    "She put the letter back in its envelope and left it on the kitchen table.",
    "Water expands when it freezes, which is why a full bottle may crack in the cold.",
    "The committee met twice last month and agreed on a budget for the coming year.",
    "To reset the device, hold the left button for ten seconds and wait for the light.",
    "Most of the trees along this road were planted about eighty years ago.",
    "He asked whether the train stops at the next village or goes straight through.",
    "Sales of used furniture rose by four percent in the second quarter.",
    "The kettle had just begun to boil when somebody knocked at the back door.",
    "A triangle with two equal sides also has two equal angles.",
    "Please return the borrowed books to the shelf by the window before you leave.",
    "In the spring the river floods the lower fields, and the cattle are moved uphill.",
    "def area(width, height): return width * height  # in square metres",
    "The museum keeps its collection of maps in a dry room below the main hall.",
    "Nobody could remember who had first suggested walking instead of taking the bus.",
    "Our office is open from nine to five, except on public holidays.",
    "The patient slept well and ate a small breakfast of toast and fruit.",
    "Two of the three engines were replaced after the inspection in March.",
    "If the paint is still wet after an hour, open a window and let the air in.",
    "I have read your report and agree with most of it, apart from the last table.",
    "The song begins slowly, with one violin, and the other strings join in later.",
    "Under the new rules, a tenant has thirty days to answer a notice in writing.",
    "Bees find their way back to the hive by the position of the sun.",
    "What time does the shop on the corner usually close in the winter?",
    "The file could not be saved because the disk is full.",
    "At the end of the lane there is a white gate, and behind it an orchard.",
    "The second half of the match was delayed by twenty minutes.",
    "My uncle repaired clocks for a living and never once arrived on time.",
    "The table shows the average rainfall for each month, in millimetres.",
    "Put on gloves before handling the plates, since they stay hot for a while.",
    "The author spent ten years on the book and gave it away for nothing.",
    "On clear nights one can see the lights of the harbour from the hill.",
    "The total comes to 47.50, including delivery and tax.",
    "They built the wall of grey stone that was carried down from the quarry.",
    "Thank you for your patience; an answer will be sent to you within a week.",
    "A short walk after lunch helps some people to concentrate in the afternoon.",
    "The pupils were asked to draw a plan of their street from memory.",
    "Older versions of the program store the date as day, month and year.",
    "When the meeting was over, the chairs were stacked and the lamps put out.",
};
enum { N_SENTENCES = (int)(sizeof sentences / sizeof *sentences) };

void rh_calibration_hash(char out[65])
{
    rh_sha256 *h = rh_sha256_new();
    out[0] = '\0';
    if (!h) return;
    for (int i = 0; i < N_SENTENCES; i++) rh_sha256_add(h, sentences[i], strlen(sentences[i]) + 1);
    rh_sha256_hex(h, out);
    rh_sha256_free(h);
}

rh_status rh_calibration_read(rh_pairs *out, rh_error *err)
{
    rh_pairs p = {0};
    p.rows = rh_calloc(N_SENTENCES, sizeof *p.rows);
    if (!p.rows) return rh_fail_nomem(err);
    for (int i = 0; i < N_SENTENCES; i++) {
        char *text = rh_strdup(sentences[i]);
        if (!text) {
            rh_pairs_free(&p);
            return rh_fail_nomem(err);
        }
        p.rows[p.n++] = (rh_text_row){.text = text, .len = strlen(text), .positive = true};
    }
    rh_calibration_hash(p.sha256);
    if (!p.sha256[0]) {
        rh_pairs_free(&p);
        return rh_fail_nomem(err);
    }
    *out = p;
    return RH_OK;
}
