/* ops.h - this backend's entries of kernels/ops.h, by file; open.c makes the table. */
#ifndef RH_KERNELS_CUDA_OPS_H
#define RH_KERNELS_CUDA_OPS_H

#include "kernels/ops.h"

/* memory.c */
rh_status rh_cuda_buf_new(rh_backend *be, rh_buf **out, size_t bytes, rh_error *err);
void rh_cuda_buf_free(rh_backend *be, rh_buf *b);
void rh_cuda_buf_forget(rh_backend *be, rh_buf *b, size_t offset, size_t bytes);
void rh_cuda_memory(rh_backend *be, size_t *free_bytes, size_t *all_bytes);
/* transfer.c */
void rh_cuda_upload(rh_backend *be, rh_buf *dst, size_t offset, const void *src, size_t bytes);
void rh_cuda_download(rh_backend *be, void *dst, const rh_buf *src, size_t offset, size_t bytes);
void rh_cuda_fetch(rh_backend *be, void *dst, const rh_buf *src, size_t offset, size_t bytes);
rh_status rh_cuda_wait(rh_backend *be, rh_error *err);
/* weight.c */
rh_status rh_cuda_weight_new(rh_backend *be, rh_weight **out, const void *data, rh_dtype t, int32_t rows, int32_t cols,
                             const int32_t *row_order, rh_error *err);
bool rh_cuda_weight_owns(const rh_weight *w);
void rh_cuda_weight_free(rh_backend *be, rh_weight *w);
void rh_cuda_op_embed(rh_backend *be, rh_buf *out, const rh_weight *w, const int32_t *ids, int32_t n, float scale);
/* product.c */
rh_status rh_cuda_op_matmul(rh_backend *be, const rh_buf *x, int32_t n, const rh_matmul_target *targets, int32_t n_targets,
                            rh_error *err);
/* sieve.c */
rh_status rh_cuda_screen_new(rh_backend *be, rh_screen **out, const void *data, rh_dtype t, int32_t rows, int32_t cols,
                             rh_error *err);
void rh_cuda_screen_free(rh_backend *be, rh_screen *s);
rh_status rh_cuda_op_screen(rh_backend *be, rh_hits *hits, const rh_screen *s, const rh_buf *x, int32_t n,
                            const rh_screen_level *level, rh_error *err);
rh_status rh_cuda_op_cosines(rh_backend *be, float *out, const void *data, rh_dtype t, int32_t rows, int32_t cols, bool turned,
                             const float *v, rh_error *err);
/* actions.c */
void rh_cuda_op_rmsnorm(rh_backend *be, rh_buf *out, const rh_buf *x, const rh_buf *w, int32_t n, int32_t d, float eps);
void rh_cuda_op_glu(rh_backend *be, rh_buf *out, const rh_buf *gate, const rh_buf *up, int32_t n, int32_t d, rh_activation act);
void rh_cuda_op_add(rh_backend *be, rh_buf *x, const rh_buf *y, int64_t n);
void rh_cuda_op_softcap(rh_backend *be, rh_buf *x, int64_t n, float cap);
void rh_cuda_op_gather_rows(rh_backend *be, rh_buf *dst, int32_t dst_row, const rh_buf *src, const int32_t *rows, int32_t n,
                            int32_t width);
void rh_cuda_op_steer_rows(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d, const rh_buf *v, float x,
                           const rh_gate *gate);
void rh_cuda_op_ablate_rows(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d, const rh_buf *basis,
                            int32_t rank, const rh_gate *gate);
void rh_cuda_op_move_rows(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d, const rh_buf *u, rh_move move,
                          float x, const rh_gate *gate);
void rh_cuda_op_guard_rows(rh_backend *be, rh_buf *flags, int32_t first, const rh_buf *h, const int32_t *rows, int32_t n,
                           int32_t d, const rh_buf *v, const rh_guard_test *test);
/* sequence.c */
void rh_cuda_op_rope(rh_backend *be, rh_buf *x, int32_t n, int32_t n_heads, int32_t head_dim, const int32_t *positions,
                     const float *inv_freq);
void rh_cuda_op_scatter_rows(rh_backend *be, rh_buf *dst, rh_dtype t, const int32_t *slots, const rh_buf *src, int32_t n,
                             int32_t width);
rh_status rh_cuda_op_attention(rh_backend *be, rh_buf *out, const rh_buf *q, const rh_buf *k, const rh_buf *v,
                               const rh_attention_group *groups, int32_t n_groups, const rh_attention_params *p, rh_error *err);
rh_status rh_cuda_op_sample(rh_backend *be, rh_buf *ids, rh_buf *logits, int32_t n, int32_t n_vocab, const rh_sample_spec *specs,
                            rh_error *err);
/* limits.c */
rh_status rh_cuda_op_limits(rh_backend *be, rh_machine_limits *out, rh_error *err);

#endif
