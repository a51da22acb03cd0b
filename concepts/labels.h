/* labels.h - labels of features from files: Neuronpedia's explanation export (JSON lines: "index", "description",
 * "modelId", "layer") and CSV (index,label), each also with gzip. Knows files and notes; no model. */
#ifndef RH_CONCEPTS_LABELS_H
#define RH_CONCEPTS_LABELS_H

#include "concepts/feature_notes.h"

typedef struct rh_labels_read {
    rh_label_source source;
    int64_t lines, taken;     /* taken: into the notes */
    int64_t others;           /* lines of another model, or of another layer or site */
    int64_t again;            /* a second label of a feature: the first one stays */
    int64_t empty;
    char other[80];           /* the first of `others`, as the file names it */
} rh_labels_read;

/* Into notes, not written to disk; labels of other sources are replaced. Neuronpedia's layer "20-gemmascope-res-16k" must begin
 * with the SAE's layer, if the SAE says one, and name its site, if it names one that is known (res, att, mlp).
 * RH_EFORMAT, with file and line: not such a file. RH_EVALUE: an index that the SAE does not have. RH_EIO. */
rh_status rh_labels_read_file(rh_labels_read *out, rh_feature_notes *notes, const rh_sae *s, const char *path, rh_error *err);

#endif
