#include "engine/tokenizer/sentencepiece.h"

#include <sentencepiece_processor.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

struct rh_sp {
    sentencepiece::SentencePieceProcessor processor;
};

static rh_status failed(char message[256], const char *what)
{
    snprintf(message, 256, "%s", what);
    return RH_EFORMAT;
}

/* The status of `work`, which may throw. */
template <typename Work> static rh_status guarded(char message[256], Work work)
{
    try {
        return work();
    } catch (const std::bad_alloc &) {
        return RH_ENOMEM;
    } catch (const std::exception &e) {
        return failed(message, e.what());
    } catch (...) {
        return failed(message, "unknown exception");
    }
}

rh_status rh_sp_load(rh_sp **out, const void *model_proto, size_t n, char message[256])
{
    rh_sp *sp = nullptr;
    rh_status status = guarded(message, [&] {
        sp = new rh_sp;
        auto s = sp->processor.LoadFromSerializedProto({ static_cast<const char *>(model_proto), n });
        return s.ok() ? RH_OK : failed(message, s.error_message());
    });
    if (status) delete sp;
    else
        *out = sp;
    return status;
}

void rh_sp_free(rh_sp *sp)
{
    delete sp;
}

rh_status rh_sp_encode(rh_sp_piece **out, size_t *n, const rh_sp *sp, const char *text, size_t len,
                       char message[256])
{
    return guarded(message, [&] {
        sentencepiece::ImmutableSentencePieceText result;
        auto s = sp->processor.Encode({ text, len }, result.mutable_proto());
        if (!s.ok()) return failed(message, s.error_message());
        size_t count = result.pieces_size();
        auto *pieces = static_cast<rh_sp_piece *>(malloc((count + 1) * sizeof(rh_sp_piece)));
        if (!pieces) return RH_ENOMEM;
        for (size_t i = 0; i < count; i++) {
            auto p = result.pieces(static_cast<int>(i));
            pieces[i] = { static_cast<int32_t>(p.id()), p.begin(), p.end() };
        }
        *out = pieces;
        *n = count;
        return RH_OK;
    });
}

int32_t rh_sp_find(const rh_sp *sp, const char *piece, size_t n)
{
    int32_t id = -1;
    char message[256];
    rh_status status = guarded(message, [&] {
        int found = sp->processor.PieceToId({ piece, n });
        if (sp->processor.IdToPiece(found) == std::string(piece, n)) id = found;
        return RH_OK;
    });
    return status ? -1 : id;
}
