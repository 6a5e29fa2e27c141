#include "wherry/base/err.h"

#include <errno.h>
#include <stdio.h>

const char *wh_error_code_text(enum wh_error_code code)
{
    switch (code) {
    case WH_OK:
        return "no error";
#define WH_ERROR_CASE(name, text)                                                                            \
    case name:                                                                                               \
        return text;
        WH_ERROR_CODES(WH_ERROR_CASE)
#undef WH_ERROR_CASE
    }
    return "unknown error";
}

static void set(struct wh_error *err, enum wh_error_code code, int sys_errno, char *message)
{
    if (!err) {
        free(message);
        return;
    }
    free(err->message);
    err->code = code;
    err->sys_errno = sys_errno;
    err->message = message;
}

int wh_fail(struct wh_error *err, enum wh_error_code code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    set(err, code, 0, wh_vprintf(fmt, args));
    va_end(args);
    return -1;
}

static enum wh_error_code code_of_errno(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return WH_E_NOT_FOUND;
    case EEXIST:
        return WH_E_EXISTS;
    case EACCES:
    case EPERM:
        return WH_E_DENIED;
    case ENOSPC:
    case EDQUOT:
        return WH_E_NO_SPACE;
    case ETIMEDOUT:
        return WH_E_TIMEOUT;
    case EBUSY:
    case EAGAIN:
        return WH_E_BUSY;
    case ENAMETOOLONG:
    case EFBIG:
    case EMFILE:
    case ENFILE:
        return WH_E_LIMIT;
    case ENOSYS:
    case EOPNOTSUPP:
        return WH_E_UNSUPPORTED;
    default:
        return WH_E_IO;
    }
}

int wh_fail_errno(struct wh_error *err, const char *fmt, ...)
{
    int number = errno;
    wh_autofree char *text = NULL;
    va_list args;
    va_start(args, fmt);
    text = wh_vprintf(fmt, args);
    va_end(args);
    char buf[128];
    set(err, code_of_errno(number), number, wh_printf("%s: %s", text, strerror_r(number, buf, sizeof(buf))));
    return -1;
}

int wh_wrap(struct wh_error *err, const char *fmt, ...)
{
    if (!err)
        return -1;
    wh_autofree char *context = NULL;
    va_list args;
    va_start(args, fmt);
    context = wh_vprintf(fmt, args);
    va_end(args);
    set(err, err->code ? err->code : WH_E_FAILED, err->sys_errno,
        wh_printf("%s: %s", context, wh_error_text(err)));
    return -1;
}

const char *wh_error_text(const struct wh_error *err)
{
    if (!err)
        return "unknown error";
    return err->message ? err->message : wh_error_code_text(err->code);
}

int wh_error_move(struct wh_error *to, struct wh_error *from)
{
    if (to) {
        set(to, from->code, from->sys_errno, from->message);
        from->message = NULL;
    }
    wh_error_clear(from);
    return -1;
}

void wh_error_clear(struct wh_error *err)
{
    if (err)
        set(err, WH_OK, 0, NULL);
}
