#include "wherry/base/mem.h"

#include <stdio.h>
#include <unistd.h>

#include "wherry/base/str.h"

static void out_of_memory(size_t size)
{
    fprintf(stderr, "wherry: out of memory (%zu bytes)\n", size);
    abort();
}

void *wh_malloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        out_of_memory(size);
    return p;
}

void *wh_calloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p)
        out_of_memory(count * size);
    return p;
}

void *wh_realloc(void *ptr, size_t size)
{
    void *p = realloc(ptr, size ? size : 1);
    if (!p)
        out_of_memory(size);
    return p;
}

void *wh_reallocarray(void *ptr, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        out_of_memory(SIZE_MAX);
    return wh_realloc(ptr, total);
}

char *wh_strdup(const char *text)
{
    return text ? wh_strndup(text, strlen(text)) : NULL;
}

char *wh_strndup(const char *text, size_t len)
{
    char *copy = wh_malloc(len + 1);
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *wh_vprintf(const char *fmt, va_list args)
{
    char *text = NULL;
    if (vasprintf(&text, fmt, args) < 0)
        out_of_memory(strlen(fmt));
    return text;
}

char *wh_printf(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = wh_vprintf(fmt, args);
    va_end(args);
    return text;
}

void wh_free_ptr(void *ptr_to_ptr)
{
    void **p = ptr_to_ptr;
    free(*p);
    *p = NULL;
}

void wh_close_fd(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

void wh_free_strv_ptr(char ***strv)
{
    wh_strv_free(*strv);
    *strv = NULL;
}

int wh_steal_fd(int *fd)
{
    int value = *fd;
    *fd = -1;
    return value;
}
