/* One way to fail. A function that can fail takes `struct wh_error *err` last and returns a negative number
 * (or NULL) with err set once, by whoever knew the cause; callers add context by wh_wrap(). err is untouched
 * on success and may be NULL where the caller doesn't care. A struct wh_error starts zeroed; wh_autoerror
 * clears it at the end of its scope. */
#ifndef WH_BASE_ERR_H
#define WH_BASE_ERR_H

#include "wherry/base/mem.h"

#define WH_ERROR_CODES(X)                                                                                    \
    X(WH_E_FAILED, "failed")         /* anything without a code of its own */                                \
    X(WH_E_ARGUMENT, "bad argument") /* the user's own input: option, file, field */                         \
    X(WH_E_IO, "I/O error")          /* a system call; sys_errno says which cause */                         \
    X(WH_E_NOT_FOUND, "not found")                                                                           \
    X(WH_E_EXISTS, "exists already")                                                                         \
    X(WH_E_PARSE, "cannot be parsed") /* foreign bytes that break their format */                            \
    X(WH_E_LIMIT, "limit exceeded")   /* a named limit (WH_MAX_...) */                                       \
    X(WH_E_DENIED, "denied")          /* credentials or rights */                                            \
    X(WH_E_NETWORK, "network error")  /* no usable answer; trying again may help */                          \
    X(WH_E_HTTP, "HTTP error")        /* an answer whose status says no */                                   \
    X(WH_E_TIMEOUT, "timed out")                                                                             \
    X(WH_E_CANCELED, "canceled")                                                                             \
    X(WH_E_PROTOCOL, "protocol error") /* a peer that breaks its contract */                                 \
    X(WH_E_DIGEST, "digest mismatch")                                                                        \
    X(WH_E_NO_SPACE, "no space left")                                                                        \
    X(WH_E_UNSUPPORTED, "not supported")                                                                     \
    X(WH_E_BUSY, "busy")                                                                                     \
    X(WH_E_CORRUPT, "corrupt") /* our own stored state is damaged */

enum wh_error_code {
    WH_OK = 0,
#define WH_ERROR_ENUM(name, text) name,
    WH_ERROR_CODES(WH_ERROR_ENUM)
#undef WH_ERROR_ENUM
};

struct wh_error {
    enum wh_error_code code;
    int sys_errno; /* 0 where no system call failed */
    char *message; /* owned; read it by wh_error_text() */
};

/* Each sets err (dropping what it held) and returns -1. */
int wh_fail(struct wh_error *err, enum wh_error_code code, const char *fmt, ...) WH_PRINTF(3, 4);
/* Appends ": " and strerror(errno); the code follows from errno (ENOENT: NOT_FOUND, ENOSPC/EDQUOT: NO_SPACE,
 * ...). */
int wh_fail_errno(struct wh_error *err, const char *fmt, ...) WH_PRINTF(2, 3);
/* Puts "context: " before the message; returns -1. */
int wh_wrap(struct wh_error *err, const char *fmt, ...) WH_PRINTF(2, 3);

const char *wh_error_text(const struct wh_error *err); /* never NULL */
const char *wh_error_code_text(enum wh_error_code code);
/* Moves from to to (dropping what to held); returns -1. */
int wh_error_move(struct wh_error *to, struct wh_error *from);
void wh_error_clear(struct wh_error *err);
#define wh_autoerror __attribute__((cleanup(wh_error_clear))) struct wh_error

#endif
